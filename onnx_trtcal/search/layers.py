"""The weighted layers of a graph as `easyquant` sees them: what they read, and their INT8 weights in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.qdq.place.placement import Read
from onnx_trtcal.qdq.weight_scales import broadcast_scales, quantize_weight, weight_scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["Layer", "Weights", "layers_of"]


@dataclass(frozen=True)
class Weights:
    """A constant operand: as it is, and from INT8 back in float, in the same dtype."""

    exact: np.ndarray
    quantized: np.ndarray


@dataclass(frozen=True, eq=False)
class Layer:
    """One Conv, ConvTranspose, Gemm or MatMul.

    Attributes:
        name: its first output.
        activations: tensors that depend on a sample and are read in INT8 -> where it reads them.
        constants: constant operands -> (where it reads them, axis of the channels).
        node: the node.
        values: of the graph's constants.
    """

    name: str
    activations: Mapping[str, tuple[Read, ...]]
    constants: Mapping[str, tuple[Read, int | None]]
    node: gs.Node
    values: Constants

    def exact(self, name: str) -> np.ndarray:
        """The values of a constant operand."""
        return np.asarray(self.values.value(self.node.inputs[self.constants[name][0].index]))

    def plain_scales(self, limit: int) -> dict[str, np.ndarray]:
        """The scales of the constant operands, max|w| / limit per output channel."""
        return {
            name: weight_scales(self.exact(name), axis, name, limit).scales
            for name, (_, axis) in self.constants.items()
        }

    def weights(self, scales: Mapping[str, np.ndarray], limit: int) -> dict[str, Weights]:
        """The constant operands with these scales: made anew by each call.

        Args:
            scales: operand -> its scales, one per output channel or one.
            limit: the largest magnitude of an integer.
        """
        found = {}
        for name, (_, axis) in self.constants.items():
            values = self.exact(name)
            along = broadcast_scales(scales[name], axis, values.ndim)
            steps = quantize_weight(values, scales[name], axis, limit).astype(np.float32)
            found[name] = Weights(values, (steps * along).astype(values.dtype))
        return found


def layers_of(graph: gs.Graph, placement: Placement) -> list[Layer]:
    """The layers that `placement` quantizes, in graph order."""
    constant = {weight.read: weight for weight in placement.weights}
    wanted = frozenset(placement.quantized)
    values = Constants(graph)
    found = []
    for node in graph.nodes:
        name = node.outputs[0].name if node.outputs else ""
        if name not in wanted:
            continue
        activations: dict[str, tuple[Read, ...]] = {}
        constants = {}
        for index, tensor in enumerate(node.inputs[:2]):
            read = Read(name, index)
            if read in constant:
                constants[tensor.name] = (read, constant[read].axis)
            else:
                activations[tensor.name] = (*activations.get(tensor.name, ()), read)
        found.append(Layer(name, activations, constants, node, values))
    return found
