"""Outputs that list what a TopK or an NMS has picked: a fixed number of rows, in an order that any error may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.view import kind, reads

if TYPE_CHECKING:
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.view import Links

__all__ = ["picked_rows"]

_PICKS = frozenset({"NonMaxSuppression", "TopK"})
_PLUGIN = "NMS"


def picked_rows(model: Model, links: Links) -> dict[str, int]:
    """Output -> its axis that counts picked rows; outputs whose number of rows depends on values are not asked for.

    Rows have columns, as boxes have, in at least one output; others of as many rows, such as scores, go with it.

    Args:
        model: for the shapes of its outputs.
        links: its graph, or one that was made from it.
    """
    behind: set[str] = set()
    for node in links.nodes:
        op = kind(node)
        if op in _PICKS or _PLUGIN in op or not behind.isdisjoint(reads(node)):
            behind.update(tensor.name for tensor in node.outputs if tensor.name)
    batch = {spec.shape[0] for spec in model.inputs if spec.shape}
    axes: dict[str, int] = {}
    counts: dict[str, int] = {}
    listed: set[int] = set()
    for name in model.outputs:
        shape = model.shapes.get(name) or ()
        axis = 1 if len(shape) > 1 and shape[0] in batch else 0
        count = shape[axis] if axis < len(shape) else None
        if name not in behind or not isinstance(count, int) or count < 2:
            continue
        axes[name], counts[name] = axis, count
        if len(shape) == axis + 2:
            listed.add(count)
    return {name: axis for name, axis in axes.items() if counts[name] in listed}
