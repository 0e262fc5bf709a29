"""Which tensors have a size that depends on values, not on shapes alone: whatever a NonZero or an NMS has picked.

Decided from the graph, and only where its shapes leave it open: an axis that is a number, or one of the model's input
axes, is known whatever the ops are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import COUNTS, READ_NO_VALUES, SCATTERS, SHAPE_INPUTS
from onnx_trtcal.graph.view import Links, kind, reads

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["DataDependent", "data_dependent"]

Dims = tuple[int | str | None, ...]


@dataclass(frozen=True)
class DataDependent:
    """Tensors whose size depends on values.

    Attributes:
        tensors: all of them.
        rowless: those of them whose axis 0 does not count samples either, as far as the shapes tell.
    """

    tensors: frozenset[str]
    rowless: frozenset[str]


def data_dependent(model: Model, links: Links) -> DataDependent:
    """Finds them; linear in the number of nodes.

    Args:
        model: the model, for the shapes that its tensors are known to have.
        links: its graph, or one that was made from it.
    """
    axes = {dim for spec in model.inputs for dim in spec.shape if isinstance(dim, str)}
    rows = {spec.shape[0] for spec in model.inputs if spec.shape}
    found: set[str] = set()
    valued = set(links.inputs)
    for node in links.nodes:
        made = [tensor.name for tensor in node.outputs if tensor.name]
        if kind(node) in READ_NO_VALUES:
            valued.update(made if node.inputs[0].name in found else ())
            continue
        if valued.isdisjoint(reads(node)):
            continue
        valued.update(made)
        if _counts(node, valued, found):
            found.update(name for name in made if not _known(model.shapes.get(name), axes))
    rowless = {name for name in found if not _counts_samples(model.shapes.get(name), rows)}
    return DataDependent(frozenset(found), frozenset(rowless))


def _counts(node: gs.Node, valued: set[str], found: set[str]) -> bool:
    """Whether a node that reads values makes something whose size depends on them, for all that the op says."""
    op = kind(node)
    if op in COUNTS:
        return True
    names = [tensor.name for tensor in node.inputs]
    if op in SCATTERS:
        return names[0] in found
    shaped: Iterable[int] = SHAPE_INPUTS.get(op, ())
    if any(at < len(names) and names[at] in valued for at in shaped):
        return True
    return not found.isdisjoint(reads(node))


def _known(shape: Dims | None, axes: set[str]) -> bool:
    return shape is not None and all(_is_fixed(dim) or dim in axes for dim in shape)


def _counts_samples(shape: Dims | None, rows: set[int | str | None]) -> bool:
    if not shape:
        return False
    return _is_fixed(shape[0]) or (isinstance(shape[0], str) and shape[0] in rows)


def _is_fixed(dim: int | str | None) -> bool:
    return isinstance(dim, int) and dim > 0
