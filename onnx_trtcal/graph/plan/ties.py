"""Ties: where one tensor's scale is another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.view import Links, kind

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["concat_branches", "tied_to"]


def tied_to(links: Links, name: str) -> tuple[str, str] | None:
    """The tensor whose scale a tensor takes, and how: "tie" or "pool".

    "tie": the same values in another shape or order, hence the same histogram. "pool": a max pooling's
    output, which TensorRT gives its input's scale. None for a tensor with a scale of its own, and for any but
    the first output of a node (the mask of a Dropout, the indices of a MaxPool).
    """
    node = links.maker(name)
    if node is None or not node.inputs or node.outputs[0].name != name:
        return None
    if kind(node) in ops.MOVES and not _trains(links, node):
        return node.inputs[0].name, "tie"
    if kind(node) in ops.COPIES:
        return node.inputs[0].name, "pool"
    return None


def _trains(links: Links, node: gs.Node) -> bool:
    """Whether a Dropout may drop values, which its third input says since opset 12."""
    if kind(node) != "Dropout":
        return False
    if len(node.inputs) > 2 and node.inputs[2].name:
        flag = links.scalar(node.inputs[2].name)
        return flag is None or bool(flag)
    return False


def concat_branches(links: Links) -> list[tuple[str, tuple[str, ...]]]:
    """Every Concat: its output and its inputs, in topological order."""
    return [
        (node.outputs[0].name, tuple(t.name for t in node.inputs if t.name))
        for node in links.nodes
        if kind(node) == "Concat"
    ]
