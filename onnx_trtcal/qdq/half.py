"""Turns what a Q/DQ graph keeps in float32 into float16, as a strongly typed TensorRT build takes it.

Graph inputs and outputs stay float32, with a Cast behind or before them, so that callers see no difference.
Nodes stay float32, between Casts, where float16 cannot be: operators of other domains, those with subgraphs,
those that ONNX defines for float32 only, those that make values of nothing (their Cast is folded), and those
next to a tensor that float16 cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import defs

from onnx_trtcal.graph.links import captured
from onnx_trtcal.qdq.names import Names

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["HALF_LIMIT", "to_float16"]

# Half of float16's largest value: room for what calibration did not see.
HALF_LIMIT = 32752.0
_LARGEST = float(np.finfo(np.float16).max)
_TYPES: Mapping[Any, int] = {np.float16: onnx.TensorProto.FLOAT16, np.float32: onnx.TensorProto.FLOAT}


def to_float16(graph: gs.Graph, wide: Iterable[str]) -> None:
    """Converts a graph in place.

    Args:
        graph: its tensors must carry their element types; Q and DQ must have float16 scales already.
        wide: tensors that hold values beyond `HALF_LIMIT`.
    """
    _Halver(graph, frozenset(wide)).run()


class _Halver:
    def __init__(self, graph: gs.Graph, wide: frozenset[str]) -> None:
        self.graph = graph
        self.wide = wide
        self.pinned = {tensor.name for tensor in graph.outputs}
        self.pinned |= {name for node in graph.nodes for name in captured(node)}
        self.names = Names(graph)
        self.versions: dict[tuple[str, Any], gs.Tensor] = {}
        self.casts: dict[int, list[gs.Node]] = {}
        self.first: list[gs.Node] = []

    def run(self) -> None:
        nodes = list(self.graph.nodes)
        for tensor in self.graph.inputs:
            self.versions[tensor.name, _type(tensor)] = tensor
        plans = [(node, self._types(node)) for node in nodes]
        for node, (_, outputs) in plans:
            for index, wanted in outputs.items():
                self._make(node, index, wanted)
        for node, (inputs, _) in plans:
            for index, wanted in inputs.items():
                node.inputs[index] = self._version(node.inputs[index], wanted)
        self.graph.nodes.clear()
        self.graph.nodes.extend(self.first)
        for node in nodes:
            self.graph.nodes.append(node)
            self.graph.nodes.extend(self.casts.get(id(node), ()))

    def _types(self, node: gs.Node) -> tuple[dict[int, Any], dict[int, Any]]:
        """The float type of each float input and output of a node, by position."""
        floats = [index for index, tensor in enumerate(node.inputs) if _type(tensor) in _TYPES]
        made = [index for index, tensor in enumerate(node.outputs) if _type(tensor) in _TYPES]
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            return ({0: np.float16} if 0 in floats else {}), dict.fromkeys(made, np.float16)
        if self._stays(node, floats):
            return {i: _type(node.inputs[i]) for i in floats}, {i: _type(node.outputs[i]) for i in made}
        schema = defs.get_schema(node.op, self.graph.opset)
        return (
            {i: np.float16 if _allows(schema.inputs, i) else np.float32 for i in floats},
            {i: np.float16 if _allows(schema.outputs, i) else np.float32 for i in made},
        )

    def _stays(self, node: gs.Node, floats: list[int]) -> bool:
        if (
            node.domain not in (None, "", "ai.onnx")
            or next(iter(node.subgraphs()), None) is not None
            or not floats
        ):
            return True
        if node.op == "Cast" or any(tensor.name in self.wide for tensor in (*node.inputs, *node.outputs)):
            return True
        return not _allows(defs.get_schema(node.op, self.graph.opset).inputs, floats[0])

    def _make(self, node: gs.Node, index: int, wanted: Any) -> None:
        """Registers an output under its type; one whose name must stay float32 is made under another name."""
        import onnx_graphsurgeon as gs

        tensor = node.outputs[index]
        if wanted is _type(tensor) or tensor.name not in self.pinned:
            tensor.dtype = np.dtype(wanted)
            self.versions[tensor.name, wanted] = tensor
            return
        half = gs.Variable(
            self.names.fresh(f"{tensor.name}_fp16"), dtype=np.dtype(wanted), shape=tensor.shape
        )
        node.outputs[index] = half
        self.versions[tensor.name, wanted] = half
        self.versions[tensor.name, _type(tensor)] = tensor
        self._cast(node, half, tensor)

    def _version(self, tensor: gs.Tensor, wanted: Any) -> gs.Tensor:
        """A tensor in a type: itself, a constant of that type, or a Cast of it, made once."""
        import onnx_graphsurgeon as gs

        known = self.versions.get((tensor.name, wanted))
        if known is not None:
            return known
        if isinstance(tensor, gs.Constant):
            made: gs.Tensor = tensor
            if _type(tensor) is not wanted:
                values = np.asarray(np.clip(tensor.values, -_LARGEST, _LARGEST), wanted)
                made = gs.Constant(self.names.fresh(f"{tensor.name}_fp16"), values)
        else:
            suffix = "fp16" if wanted is np.float16 else "fp32"
            made = gs.Variable(
                self.names.fresh(f"{tensor.name}_{suffix}"), dtype=np.dtype(wanted), shape=tensor.shape
            )
            self._cast(tensor.inputs[0] if tensor.inputs else None, tensor, made)
        self.versions[tensor.name, wanted] = made
        return made

    def _cast(self, behind: gs.Node | None, source: gs.Tensor, target: gs.Tensor) -> None:
        import onnx_graphsurgeon as gs

        to = _TYPES[_type(target)]
        name = self.names.fresh(f"{target.name}_Cast")
        cast = gs.Node("Cast", name=name, attrs={"to": to}, inputs=[source], outputs=[target])
        (self.first if behind is None else self.casts.setdefault(id(behind), [])).append(cast)


def _type(tensor: gs.Tensor) -> Any:
    """np.float16, np.float32, or None for any other type."""
    if tensor.dtype is None or isinstance(tensor.dtype, int):
        return None
    return next((each for each in _TYPES if tensor.dtype == each), None)


def _allows(formals: Any, index: int) -> bool:
    """Whether ONNX defines float16 for an input or output; the last one stands for all that follow."""
    return "tensor(float16)" in formals[min(index, len(formals) - 1)].types
