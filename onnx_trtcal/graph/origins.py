"""What a tensor is computed from by nothing but pointwise ops and moves of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.channel_axes import DEEPEST, PER_VALUE
from onnx_trtcal.graph.ops import MOVES
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants
    from onnx_trtcal.graph.view import Links

__all__ = ["Origins"]

_PICKS = frozenset({"Split", "Slice", "Gather"})
_PASSES = PER_VALUE | MOVES | {"Cast", "Concat", "Expand"}


class Origins:
    """Answers for one graph, each given once.

    Args:
        links: the graph.
        constants: the values of its constants.
    """

    def __init__(self, links: Links, constants: Constants) -> None:
        self._links = links
        self._constants = constants
        self._known: dict[str, frozenset[str]] = {}

    def of(self, tensor: str, depth: int = 0) -> frozenset[str]:
        """The origins of a tensor: what other ops made, and what was picked from a tensor, by names of their own.

        Two picks of the same values from one tensor have one name; constants are no origin.
        """
        if tensor not in self._known:
            self._known[tensor] = frozenset({tensor})
            node = self._links.maker(tensor)
            if tensor in self._links.constants:
                self._known[tensor] = frozenset()
            elif node is not None and depth < DEEPEST:
                self._known[tensor] = self._find(node, tensor, depth + 1)
        return self._known[tensor]

    def _find(self, node: gs.Node, tensor: str, depth: int) -> frozenset[str]:
        op = kind(node)
        if op in _PICKS:
            return frozenset({self._pick(node, tensor)})
        if op not in _PASSES:
            return frozenset({tensor})
        read = node.inputs if op in PER_VALUE or op == "Concat" else node.inputs[:1]
        return frozenset().union(*(self.of(each.name, depth) for each in read if each.name))

    def _pick(self, node: gs.Node, tensor: str) -> str:
        values = [self._constants.value(each) for each in node.inputs[1:] if each.name]
        if node.op == "Split" or any(value is None for value in values):
            return tensor
        chosen = [value.tolist() for value in values if value is not None]
        return f"{node.op} {node.inputs[0].name} {sorted(node.attrs.items())} {chosen}"
