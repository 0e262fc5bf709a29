"""Turns what a Q/DQ graph keeps in float32 into float16, as a strongly typed TensorRT build takes it.

Graph inputs and outputs stay float32, with a Cast behind or in front of them, so that callers see no difference.
Nodes stay float32, between Casts, where float16 is not possible: operators of other domains, operators with
subgraphs or sequences, those that ONNX defines for float32 only, those without float inputs, and those next to a
tensor that float16 cannot hold. A quantized one among them gets float32 scales: it runs in INT8 between float32
tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import defs

from onnx_trtcal.graph.names import Names, names_in
from onnx_trtcal.graph.view import captured, is_standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx_graphsurgeon as gs

__all__ = ["to_float16"]

_LARGEST = float(np.finfo(np.float16).max)
_TYPES: Mapping[Any, int] = {np.float16: onnx.TensorProto.FLOAT16, np.float32: onnx.TensorProto.FLOAT}


def to_float16(graph: gs.Graph, wide: Iterable[str]) -> None:
    """Converts a graph in place.

    Args:
        graph: its tensors must carry their element types, and the scales of Q and DQ must have the float type
            that the Q reads and the DQ makes.
        wide: tensors that float16 cannot hold, and the outputs of their DQ.
    """
    _Converter(graph, frozenset(wide)).run()


class _Converter:
    def __init__(self, graph: gs.Graph, wide: frozenset[str]) -> None:
        self.graph = graph
        self.wide = wide
        self.pinned = {tensor.name for tensor in graph.outputs}
        self.pinned |= {name for node in graph.nodes for name in captured(node)}
        self.names = Names(names_in(graph))
        self.versions: dict[tuple[str, Any], gs.Tensor] = {}
        self.casts: dict[int, list[gs.Node]] = {}
        self.first: list[gs.Node] = []
        self.copied: set[int] = set()

    def run(self) -> None:
        nodes = list(self.graph.nodes)
        for node in nodes:
            if _casts_to_itself(node):
                # Exporters write it for `x.float()`; as a Cast it would hold its neighbors at float32.
                node.op = "Identity"
                node.attrs.clear()
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
            if id(node) in self.copied and not node.outputs[0].outputs:
                node.inputs.clear()
            else:
                self.graph.nodes.append(node)
            self.graph.nodes.extend(self.casts.get(id(node), ()))

    def _types(self, node: gs.Node) -> tuple[dict[int, Any], dict[int, Any]]:
        """The float type of each float input and output of a node, by position."""
        floats = [index for index, tensor in enumerate(node.inputs) if _type(tensor) in _TYPES]
        made = [index for index, tensor in enumerate(node.outputs) if _type(tensor) in _TYPES]
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            of_scale = _type(node.inputs[1])
            return ({0: of_scale} if 0 in floats else {}), dict.fromkeys(made, of_scale)
        if self._stays(node, floats):
            return {i: _type_read(node, i) for i in floats}, {i: _type(node.outputs[i]) for i in made}
        schema = defs.get_schema(node.op, self.graph.opset)
        return (
            {i: np.float16 if _allows(schema.inputs, i) else np.float32 for i in floats},
            {i: np.float16 if _allows(schema.outputs, i) else np.float32 for i in made},
        )

    def _stays(self, node: gs.Node, floats: list[int]) -> bool:
        if not is_standard(node) or next(iter(node.subgraphs()), None) is not None or not floats:
            return True
        if not defs.has(node.op) or self._makes_sequence(node):
            return True
        if node.op == "Cast" or any(tensor.name in self.wide for tensor in (*node.inputs, *node.outputs)):
            return True
        return not _allows(defs.get_schema(node.op, self.graph.opset).inputs, floats[0])

    def _makes_sequence(self, node: gs.Node) -> bool:
        """Whether a node takes or makes a sequence, map or optional: what these hold stays float32."""
        schema = defs.get_schema(node.op, self.graph.opset)
        formals = [
            formals[min(index, len(formals) - 1)]
            for formals, tensors in ((schema.inputs, node.inputs), (schema.outputs, node.outputs))
            for index, tensor in enumerate(tensors)
            if tensor.name
        ]
        return any(not any(kind.startswith("tensor(") for kind in each.types) for each in formals)

    def _make(self, node: gs.Node, index: int, wanted: Any) -> None:
        """Registers an output under its type; if its name must stay float32, the node makes it under a new name."""
        import onnx_graphsurgeon as gs

        tensor = node.outputs[index]
        if wanted is _type(tensor) or tensor.name not in self.pinned:
            tensor.dtype = np.dtype(wanted)
            self.versions[tensor.name, wanted] = tensor
            return
        converted = gs.Variable(
            self.names.fresh(f"{tensor.name}_fp16"), dtype=np.dtype(wanted), shape=tensor.shape
        )
        node.outputs[index] = converted
        self.versions[tensor.name, wanted] = converted
        self.versions[tensor.name, _type(tensor)] = tensor
        self._cast(node, converted, tensor)

    def _version(self, tensor: gs.Tensor, wanted: Any) -> gs.Tensor:
        """A tensor in a type: the tensor itself, a constant or DQ of that type, or a Cast, each made only once."""
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
            if _is_dequantized(tensor):
                self._dequantize(tensor.inputs[0], made)
            else:
                self._cast(tensor.inputs[0] if tensor.inputs else None, tensor, made)
        self.versions[tensor.name, wanted] = made
        return made

    def _dequantize(self, node: gs.Node, target: gs.Variable) -> None:
        """A second DQ that makes another type: a Cast between a DQ and its reader would keep them from fusing."""
        import onnx_graphsurgeon as gs

        exact = node.inputs[1]
        assert isinstance(exact, gs.Constant)
        scale = gs.Constant(
            self.names.fresh(f"{exact.name}_fp32"), exact.values.astype(np.dtype(_type(target)))
        )
        inputs = [node.inputs[0], scale, *node.inputs[2:]]
        name = self.names.fresh(f"{target.name}_DequantizeLinear")
        copy = gs.Node("DequantizeLinear", name=name, attrs=node.attrs, inputs=inputs, outputs=[target])
        self.casts.setdefault(id(node), []).append(copy)
        self.copied.add(id(node))

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


def _casts_to_itself(node: gs.Node) -> bool:
    """Whether a Cast changes nothing in a float32 model."""
    return (
        is_standard(node)
        and node.op == "Cast"
        and {_type(node.inputs[0]), _type(node.outputs[0])} == {np.float32}
    )


def _is_dequantized(tensor: gs.Tensor) -> bool:
    return len(tensor.inputs) == 1 and tensor.inputs[0].op == "DequantizeLinear"


def _type_read(node: gs.Node, index: int) -> Any:
    """The type that an unconverted node reads: behind a DQ, the type of its own output."""
    tensor = node.inputs[index]
    if _is_dequantized(tensor) and node.outputs and _type(node.outputs[0]) is not None:
        return _type(node.outputs[0])
    return _type(tensor)


def _allows(formals: Any, index: int) -> bool:
    """Whether ONNX defines float16 for an input or output; the last formal stands for all that follow."""
    return "tensor(float16)" in formals[min(index, len(formals) - 1)].types
