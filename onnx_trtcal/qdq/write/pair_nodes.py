"""Makes Q and DQ nodes, with names that are new to their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.names import Names

__all__ = ["PairNodes"]


class PairNodes:
    """Makes the nodes of pairs; they are named after the tensor that is quantized.

    Args:
        names: gives out new names.
    """

    def __init__(self, names: Names) -> None:
        self._names = names

    def pair(self, tensor: gs.Tensor, scale: np.ndarray, axis: int | None) -> tuple[gs.Node, gs.Node]:
        """A Q that reads a tensor, and the DQ behind it.

        Args:
            tensor: what is quantized.
            scale: of rank 0, or one per slice along `axis`; its type is what the DQ makes.
            axis: None for a single scale.
        """
        import onnx_graphsurgeon as gs

        name = tensor.name
        parameters = self._parameters(name, scale)
        quantized = gs.Variable(
            self._names.fresh(f"{name}_QuantizeLinear_Output"), dtype=np.int8, shape=tensor.shape
        )
        q = gs.Node(
            "QuantizeLinear",
            name=self._names.fresh(f"{name}_QuantizeLinear"),
            attrs=_attributes(axis),
            inputs=[tensor, *parameters],
            outputs=[quantized],
        )
        return q, self._dq(name, quantized, parameters, axis)

    def dequantizer(self, name: str, stored: gs.Constant, scale: np.ndarray, axis: int | None) -> gs.Node:
        """A DQ that reads a weight stored as INT8.

        Args:
            name: of the float weight.
            stored: the integers.
            scale: of rank 0, or one per slice along `axis`; its type is what the DQ makes.
            axis: None for a single scale.
        """
        return self._dq(name, stored, self._parameters(name, scale), axis)

    def _dq(
        self, name: str, quantized: gs.Tensor, parameters: tuple[gs.Constant, gs.Constant], axis: int | None
    ) -> gs.Node:
        import onnx_graphsurgeon as gs

        output = gs.Variable(
            self._names.fresh(f"{name}_DequantizeLinear_Output"),
            dtype=parameters[0].values.dtype,
            shape=quantized.shape,
        )
        return gs.Node(
            "DequantizeLinear",
            name=self._names.fresh(f"{name}_DequantizeLinear"),
            attrs=_attributes(axis),
            inputs=[quantized, *parameters],
            outputs=[output],
        )

    def _parameters(self, name: str, scale: np.ndarray) -> tuple[gs.Constant, gs.Constant]:
        """Scale and zero-point."""
        import onnx_graphsurgeon as gs

        return (
            gs.Constant(self._names.fresh(f"{name}_scale"), scale),
            gs.Constant(self._names.fresh(f"{name}_zero_point"), np.zeros(scale.shape, np.int8)),
        )


def _attributes(axis: int | None) -> dict[str, int]:
    return {} if axis is None else {"axis": axis}
