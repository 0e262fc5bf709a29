"""Groups of a switched graph: their nodes, their names, and what is quantized without some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.switched_graph import SwitchedGraph, quantized_nodes

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from onnx_trtcal.evaluation.variants import Damage
    from onnx_trtcal.qdq.options import QdqOptions

__all__ = ["RankedGroup", "groups_of", "rank_group", "without_groups"]


@dataclass(frozen=True)
class RankedGroup:
    """One group: a layer with what is fused to it, or an op without weights that runs in INT8.

    Attributes:
        name: name of its first node, or that node's first output if it has no name.
        op: op type of that node.
        pattern: the pattern for `exclude` that leaves it in floating point.
        layers: the names of all its named nodes, for `--layerPrecisions`.
        damage: with this group alone quantized, or with all groups but this one.
    """

    name: str
    op: str
    pattern: str
    layers: tuple[str, ...]
    damage: Damage


def groups_of(switched: SwitchedGraph) -> dict[str, frozenset[str]]:
    """First output of a group's first node -> its nodes that read anything quantized, in graph order."""
    member = {node: group.anchor for group in switched.groups for node in group.nodes}
    found: dict[str, set[str]] = {}
    for node in switched.switches:
        found.setdefault(member.get(node, node), set()).add(node)
    return {name: frozenset(nodes) for name, nodes in found.items()}


def rank_group(switched: SwitchedGraph, anchor: str, damage: Damage) -> RankedGroup:
    """A group with its damage and the names that leave it out.

    Args:
        switched: the model.
        anchor: first output of the group's first node.
        damage: what was measured.
    """
    nodes = next((group.nodes for group in switched.groups if group.anchor == anchor), (anchor,))
    name = switched.names.get(anchor, anchor)
    # Where a name is also another node's, or an op type, only the output identifies the node.
    unique = list(switched.names.values()).count(name) == 1 and name not in switched.ops.values()
    layers = tuple(switched.names[node] for node in nodes if node in switched.names)
    return RankedGroup(name, switched.ops[anchor], name if unique else anchor, layers, damage)


def without_groups(
    switched: SwitchedGraph, worst: Sequence[RankedGroup], scales: Container[str], qdq: QdqOptions
) -> frozenset[str]:
    """First outputs of the nodes that stay quantized when these groups are excluded, as placement then decides."""
    from onnx_trtcal.qdq.place.place import place

    patterns = tuple(group.pattern for group in worst)
    left = replace(qdq, exclude=(*qdq.exclude, *patterns))
    mixed = switched.placement.mixed
    placed = place(switched.folded, switched.groups, left, scales, mixed=mixed)
    return quantized_nodes(placed) & frozenset(switched.switches)
