"""Ties between a Concat and its branches: TensorRT moves the Q behind a Concat up to each branch.

Branches whose ranges lie too far apart for one scale are not tied: each keeps its own pair for its other readers, and
is quantized once more, with the Concat's scale, for the layer that reads the Concat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.qdq.place.placement import Tie

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from onnx_trtcal.graph.flow import Flow

__all__ = ["concat_ties"]


def concat_ties(flow: Flow, pairs: Iterable[str], mixed: Container[str] = ()) -> tuple[Tie, ...]:
    """Sets of tensors with pairs that have to share a scale.

    A branch that has a pair of its own, for another consumer, would be quantized twice unless both scales are
    equal. Both take the Concat's: its values include the branch's, and it is the scale of the Q that moves up.

    Args:
        flow: the graph.
        pairs: the tensors that carry a pair, in graph order.
        mixed: outputs of the Concats whose branches keep their own scales.
    """
    pairs_at: dict[str, list[str]] = {}
    for tensor in pairs:
        pairs_at.setdefault(flow.root(tensor), []).append(tensor)
    classes = _Classes()
    inner: set[str] = set()
    pending = [root for root in pairs_at if flow.branches(root) and root not in mixed]
    seen = set(pending)
    while pending:
        root = pending.pop()
        for branch in flow.branches(root):
            inner.add(branch)
            classes.join(root, branch)
            if flow.branches(branch) and branch not in seen and branch not in mixed:
                seen.add(branch)
                pending.append(branch)
    members: dict[str, list[str]] = {}
    leaders: dict[str, list[str]] = {}
    for root, tensors in pairs_at.items():
        members.setdefault(classes.of(root), []).extend(tensors)
        if flow.branches(root) and root not in inner:
            leaders.setdefault(classes.of(root), []).extend(tensors)
    return tuple(
        Tie(tuple(tensors), tuple(leaders[name]))
        for name, tensors in members.items()
        if len(tensors) > 1 and name in leaders
    )


class _Classes:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        while self._parent.get(name, name) != name:
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._parent[self.of(other)] = self.of(one)
