"""Shape arithmetic: tensors that only say how large or where, and so never become INT8 activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.view import Links, kind

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["shape_tensors"]


def shape_tensors(links: Links) -> frozenset[str]:
    """Tensors made by nodes, of any type, that end in shape positions and nowhere else.

    A tensor counts when an op makes it that computes shapes (ops.SHAPE_CARRIERS, ops.SHAPE_SOURCES), it is
    read, is pinned by nothing, and every reader either takes it as a shape (ops.SHAPE_INPUTS) or computes
    shapes itself: an op of ops.SHAPE_CARRIERS all of whose outputs count. What a convolution makes stays an
    activation, even where its maximum alone decides a size.
    TensorRT computes such tensors on the host and lists them in no calibration cache, whatever their type: a
    Resize to half the size of its input multiplies float sizes by 0.5.
    """
    found: set[str] = set()
    for at in range(len(links.nodes) - 1, -1, -1):
        if kind(links.nodes[at]) in ops.SHAPE_CARRIERS | ops.SHAPE_SOURCES:
            found.update(
                t.name for t in links.nodes[at].outputs if t.name and _only_shapes(links, t.name, found)
            )
    return frozenset(found)


def _only_shapes(links: Links, name: str, found: set[str]) -> bool:
    readers = links.consumers.get(name, ())
    if not readers or name in links.pinned:
        return False
    return all(_reads_shape(links.nodes[at], name, found) for at in readers)


def _reads_shape(node: gs.Node, name: str, found: set[str]) -> bool:
    positions = ops.SHAPE_INPUTS.get(kind(node), frozenset())
    if all(i in positions for i, t in enumerate(node.inputs) if t.name == name):
        return True
    return kind(node) in ops.SHAPE_CARRIERS and all(t.name in found for t in node.outputs if t.name)
