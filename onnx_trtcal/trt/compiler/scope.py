"""What the names in an ONNX graph stand for: makers, stored constants, and the pairs that tensors come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.model.nodes import bodies
from onnx_trtcal.graph.model.order import sorted_nodes
from onnx_trtcal.graph.ops import COPIES, MOVES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from onnx_trtcal.graph.model.inference import Shape

__all__ = ["STANDARD", "Scope"]

STANDARD = ("", "ai.onnx")
_QUANTIZED_DOMAINS = (*STANDARD, "com.microsoft")
# A pair above any of these is the layer's own: the compiler moves Q and DQ through them.
_TRANSPARENT = MOVES | COPIES | {"Cast", "Concat", "Expand", "Gather", "Slice", "Split"}


@dataclass(frozen=True)
class Scope:
    """What the names in a graph stand for, outer names included.

    Attributes:
        makers: tensor -> the node that makes it.
        stored: constant -> its shape, for initializers and Constant nodes.
        constant: tensors that depend on no input of the model.
    """

    makers: Mapping[str, onnx.NodeProto]
    stored: Mapping[str, tuple[int, ...]]
    constant: frozenset[str]

    def inside(self, graph: onnx.GraphProto) -> Scope:
        """This scope with the names of a graph in it."""
        makers = dict(self.makers)
        stored = {**self.stored, **{tensor.name: tuple(tensor.dims) for tensor in graph.initializer}}
        constant = set(self.constant) | stored.keys()
        constant |= {tensor.values.name for tensor in graph.sparse_initializer}
        for node in sorted_nodes(graph.node):
            makers.update(dict.fromkeys((name for name in node.output if name), node))
            value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
            if node.op_type == "Constant" and value is not None:
                stored[node.output[0]] = tuple(value.dims)
            if not any(bodies(node)) and all(name in constant for name in node.input if name):
                constant.update(node.output)
        return Scope(makers, stored, frozenset(constant))

    def shape(self, name: str, inferred: Mapping[str, Shape | None]) -> Shape | None:
        """The shape of a tensor; of what it quantizes or dequantizes where inference does not know the op."""
        found = inferred.get(name) or self.stored.get(name)
        node = self.makers.get(name)
        if found or node is None or node.op_type not in ("DequantizeLinear", "QuantizeLinear"):
            return found
        return self.shape(node.input[0], inferred)

    def dequantizer(self, name: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that a tensor comes from, maybe through ops that only move its values."""
        seen = set()
        while name not in seen and (node := self.makers.get(name)) is not None:
            seen.add(name)
            if node.op_type == "DequantizeLinear" and node.domain in _QUANTIZED_DOMAINS:
                return node
            if node.op_type not in _TRANSPARENT or node.domain not in STANDARD:
                return None
            name = node.input[0]
        return None
