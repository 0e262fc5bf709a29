"""Concats that join branches of very different ranges, which one INT8 scale cannot serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.constants import largest_magnitude
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.flow import Flow

__all__ = ["APART", "MixedConcat", "mixed_concats"]

APART = 32.0
"""How many times larger the largest branch is: beyond that the smallest has less than 4 of INT8's 127 levels."""


@dataclass(frozen=True)
class MixedConcat:
    """A Concat whose branches' ranges are more than APART times apart.

    Attributes:
        tensor: its output.
        node: the node's name, or `tensor` where it has none.
        smallest: the branch with the smallest range that is not all zeros.
        largest: the branch with the largest range.
        ratio: the largest range over the smallest.
    """

    tensor: str
    node: str
    smallest: str
    largest: str
    ratio: float


def mixed_concats(flow: Flow, magnitudes: Mapping[str, float]) -> tuple[MixedConcat, ...]:
    """The Concats whose branches lie too far apart for one scale, in graph order.

    Branches of unknown range do not count, and neither do those that are all zeros, which any scale represents.

    Args:
        flow: the graph.
        magnitudes: tensor -> the largest magnitude that is kept of it: its threshold, or 127 times its scale.
    """
    found = []
    for node in flow.nodes:
        # Most other Concats put shapes together.
        if kind(node) != "Concat" or node.outputs[0].name not in magnitudes:
            continue
        known = {tensor.name: _magnitude(flow, tensor, magnitudes) for tensor in node.inputs if tensor.name}
        known = {name: value for name, value in known.items() if value > 0}
        if not known:
            continue
        smallest, largest = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        ratio = known[largest] / known[smallest]
        if ratio > APART:
            output = node.outputs[0].name
            found.append(MixedConcat(output, node.name or output, smallest, largest, ratio))
    return tuple(found)


def _magnitude(flow: Flow, branch: gs.Tensor, magnitudes: Mapping[str, float]) -> float:
    """That of the branch itself, or else of the tensor whose values it holds; 0 where it is not known."""
    for name in (branch.name, flow.root(branch.name)):
        if name in magnitudes:
            return magnitudes[name]
    if flow.is_activation(branch.name):
        return 0.0
    values = flow.constants.value(branch)
    return 0.0 if values is None or values.dtype.kind != "f" else largest_magnitude(values)
