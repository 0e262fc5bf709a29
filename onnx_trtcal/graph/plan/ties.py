"""Ties: where one tensor's scale is another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.view import Links, kind

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["concat_branches", "tied_to"]


def tied_to(links: Links, constants: Constants, name: str) -> tuple[str, str] | None:
    """The tensor whose scale a tensor takes, and how: "tie" or "pool".

    "tie": the same values in another shape or order, hence the same histogram. "pool": a max pooling's
    output, which TensorRT gives its input's scale. None for a tensor with a scale of its own, and for any but
    the first output of a node (the mask of a Dropout, the indices of a MaxPool).
    """
    node = links.maker(name)
    if node is None or not node.inputs or node.outputs[0].name != name:
        return None
    if kind(node) in ops.MOVES and not _trains(node, constants):
        return node.inputs[0].name, "tie"
    if kind(node) in ops.COPIES:
        return node.inputs[0].name, "pool"
    return None


def _trains(node: gs.Node, constants: Constants) -> bool:
    """Whether a Dropout may drop values, which its third input says since opset 12."""
    if kind(node) != "Dropout" or len(node.inputs) < 3 or not node.inputs[2].name:
        return False
    flag = constants.scalar(node.inputs[2])
    return flag is None or bool(flag)


def concat_branches(links: Links) -> list[tuple[str, tuple[str, ...]]]:
    """Every Concat: its output and its inputs, in topological order."""
    return [
        (node.outputs[0].name, tuple(t.name for t in node.inputs if t.name))
        for node in links.nodes
        if kind(node) == "Concat"
    ]
