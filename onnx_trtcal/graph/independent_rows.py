"""Whether a graph computes every row of axis 0 from the same row of its inputs, as far as its ops alone prove that.

Names of dimensions prove nothing, nor do shapes that a model states; but a convolution does: it never looks from one
row into another. A tensor *holds rows* when its axis 0 is the inputs' axis 0, and each of its rows depends on that row
of the inputs only, however many there are. The inputs do, and what an op listed here makes of such tensors and of
constants without rows of their own does. Ops that are not listed may keep rows apart as well: then nothing is proven,
and a trial has to tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import ACTIVATIONS, POINTWISE
from onnx_trtcal.graph.view import is_random, kind, link

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["rows_are_independent"]

# The shape of a row: a number for each axis behind axis 0, None where it is not known.
Row = tuple[int | None, ...]

_DISTRIBUTIONS = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
# What these make of a value depends on the values in the same place of their other inputs alone.
_IN_PLACE = (POINTWISE | ACTIVATIONS.keys() - _DISTRIBUTIONS) | {
    *(
        "And",
        "Cast",
        "Cos",
        "Dropout",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IsInf",
        "IsNaN",
        "Less",
    ),
    *("LessOrEqual", "Mean", "Mod", "Not", "Or", "Round", "Sign", "Sin", "Sum", "Where", "Xor"),
}
# These look at the channels and the places of one row.
_SPATIAL = frozenset(
    {
        *("AveragePool", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalLpPool"),
        *("GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "LpPool", "MaxPool"),
        "SpaceToDepth",
    }
)
# These look along an axis, or from one axis on, which an attribute names.
_ALONG = {
    "ArgMax": 0,
    "ArgMin": 0,
    "Hardmax": -1,
    "LayerNormalization": -1,
    "LogSoftmax": -1,
    "LpNormalization": -1,
    "RMSNormalization": -1,
    "Softmax": -1,
    "Split": 0,
    "TopK": -1,
}


def rows_are_independent(graph: gs.Graph, inputs: Iterable[InputSpec], tensors: Collection[str]) -> bool:
    """Whether all of these tensors are proven to hold rows.

    Args:
        graph: the graph that runs; not changed.
        inputs: what it is fed.
        tensors: some of its tensors.
    """
    rows = {spec.name: tuple(map(_number, spec.shape[1:])) for spec in inputs if spec.shape}
    prover, links = _Prover(graph, rows), link(graph)
    for node in links.nodes:
        if not links.constants.issuperset(tensor.name for tensor in node.outputs if tensor.name):
            prover.pass_on(node)
    return all(name in rows for name in tensors)


class _Prover:
    """Goes through a graph; a rule gives the row that a node makes, None where it is not proven to make any.

    Args:
        graph: the graph.
        rows: the tensors that hold rows -> what a row is; filled.
    """

    def __init__(self, graph: gs.Graph, rows: dict[str, Row]) -> None:
        self._opset = graph.opset
        self._constants = Constants(graph)
        self._rows = rows

    def pass_on(self, node: gs.Node) -> None:
        """Notes what a node makes, whose inputs have been noted."""
        if not node.inputs or is_random(node) or list(node.subgraphs()):
            return
        op = kind(node)
        rule = _Prover.reduced if op.startswith("Reduce") else _RULES.get(op)
        row = rule(self, node) if rule else None
        # Of several outputs, the others are positions or statistics, which may count through all rows.
        for tensor in node.outputs if op in ("Split", "TopK") else node.outputs[:1]:
            if row is not None:
                self._rows[tensor.name] = row

    def in_place(self, node: gs.Node) -> Row | None:
        given = [tensor for tensor in node.inputs if tensor.name]
        rows = [self._rows[each.name] for each in given if each.name in self._rows]
        if not rows or len({*map(len, rows)}) > 1:
            return None
        # Before opset 8 some do not broadcast, and others do so from an axis that an attribute names.
        if self._opset < 8 and len(rows) < len(given):
            return None
        shapes: list[Sequence[int | None]] = [*rows]
        for each in given:
            if each.name not in self._rows:
                if not self._rowless(each, len(rows[0])):
                    return None
                shapes.append((self._constants.shape(each) or ())[-len(rows[0]) :] if rows[0] else ())
        return _broadcast(shapes, len(rows[0]))

    def spatial(self, node: gs.Node) -> Row | None:
        row, op = self._row(node), kind(node)
        if row is None or len(row) < 2 or not self._constant(node.inputs[1:]):
            return None
        if op in ("GroupNormalization", "InstanceNormalization", "LRN"):
            return row
        channels, places = row[0], (1 if op.startswith("Global") else None,) * (len(row) - 1)
        if op in ("Conv", "ConvTranspose"):
            shape = self._constants.shape(node.inputs[1])
            channels = shape[0] if shape and op == "Conv" else None
        return (None if op in ("DepthToSpace", "SpaceToDepth") else channels, *places)

    def batch_normalized(self, node: gs.Node) -> Row | None:
        trains = node.attrs.get("training_mode") or len(node.outputs) > 1
        row = self._row(node)
        return row if row and not trains and self._constant(node.inputs[1:]) else None

    def along(self, node: gs.Node) -> Row | None:
        op, row = kind(node), self._row(node)
        usual = 1 if op in _DISTRIBUTIONS and self._opset < 13 else _ALONG[op]
        axis = node.attrs.get("axis", usual)
        if row is None or not _within(row, [axis]):
            return None
        if not all(not tensor.name or self._rowless(tensor, len(row)) for tensor in node.inputs[1:]):
            return None
        if op in ("ArgMax", "ArgMin"):
            return _collapsed(row, [axis], node)
        return _forgotten(row, [axis]) if op in ("Split", "TopK") else row

    def gemm(self, node: gs.Node) -> Row | None:
        row, (_, second, *third) = self._row(node), node.inputs
        shape = self._constants.shape(second) if self._constant([second]) else None
        plain = row is not None and len(row) == 1 and not node.attrs.get("transA")
        if not plain or shape is None or not all(self._rowless(each, 1) for each in third if each.name):
            return None
        return (shape[0 if node.attrs.get("transB") else -1],)

    def matmul(self, node: gs.Node) -> Row | None:
        first, second = node.inputs
        one, other = self._rows.get(first.name), self._rows.get(second.name)
        if one is not None and other is not None:
            both = len(one) == len(other) > 1
            return (*_broadcast([one[:-2], other[:-2]], len(one) - 2), one[-2], other[-1]) if both else None
        if other is not None:
            left = self._constants.shape(first) if self._constant([first]) else None
            if left is None or len(left) < 2 or len(other) < 2 or not self._rowless(first, len(other)):
                return None
            return _forgotten(other, range(1, len(other)))
        right = self._constants.shape(second) if self._constant([second]) else None
        if not one or not right:
            return None
        if len(right) == 1:
            return one[:-1]
        if len(right) == 2:
            return (*one[:-1], right[1])
        several = len(one) > 1 and self._rowless(second, len(one))
        return _forgotten(one, range(1, len(one) + 1)) if several else None

    def concat(self, node: gs.Node) -> Row | None:
        rows = [self._rows.get(tensor.name) for tensor in node.inputs]
        first, axis = rows[0], node.attrs["axis"]
        if first is None or not _within(first, [axis]):
            return None
        same = all(row is not None and len(row) == len(first) for row in rows)
        return _forgotten(first, [axis]) if same else None

    def flattened(self, node: gs.Node) -> Row | None:
        row, axis = self._row(node), node.attrs.get("axis", 1)
        return (_product(row),) if row is not None and (axis == 1 or (axis and axis == -len(row))) else None

    def reshaped(self, node: gs.Node) -> Row | None:
        row, target = self._row(node), self._integers(node, "shape", 1)
        if row is None or not target or node.attrs.get("allowzero"):
            return None
        sizes = [row[at - 1] if size == 0 and 0 < at <= len(row) else size for at, size in enumerate(target)]
        after = tuple(None if size == -1 else size for size in sizes[1:])
        if target[0] == 0:
            return after
        # The first axis takes what the others leave over: the rows, where those hold all of a row.
        whole = _product(row)
        return after if target[0] == -1 and whole is not None and whole == _product(after) else None

    def squeezed(self, node: gs.Node) -> Row | None:
        row, axes = self._row(node), self._integers(node, "axes", 1)
        if row is None or not axes or not _within(row, axes):
            return None
        gone = {axis % (len(row) + 1) for axis in axes}
        return tuple(size for at, size in enumerate(row, 1) if at not in gone)

    def unsqueezed(self, node: gs.Node) -> Row | None:
        row, axes = self._row(node), self._integers(node, "axes", 1)
        if row is None or not axes:
            return None
        after: list[int | None] = [1] * (len(row) + len(axes))
        if not _within(after, axes):
            return None
        new = {axis % (len(after) + 1) for axis in axes}
        left = iter(row)
        return tuple(1 if at in new else next(left, None) for at in range(1, len(after) + 1))

    def transposed(self, node: gs.Node) -> Row | None:
        row, order = self._row(node), node.attrs.get("perm")
        return tuple(row[at - 1] for at in order[1:]) if row and order and order[0] == 0 else None

    def reduced(self, node: gs.Node) -> Row | None:
        row, axes = self._row(node), self._integers(node, "axes", 1)
        return _collapsed(row, axes, node) if row and axes and _within(row, axes) else None

    def sliced(self, node: gs.Node) -> Row | None:
        row, axes = self._row(node), self._integers(node, "axes", 3)
        fits = row and axes and _within(row, axes) and self._constant(node.inputs[1:])
        return _forgotten(row, axes) if row and axes and fits else None

    def gathered(self, node: gs.Node) -> Row | None:
        data, places = node.inputs
        axis = node.attrs.get("axis", 0)
        if self._constant([data]):
            # Rows of a table, one for each value.
            table, row = self._constants.shape(data), self._rows.get(places.name)
            return (*row, *table[1:]) if row is not None and table and axis == 0 else None
        shape = self._constants.shape(places) if self._constant([places]) else None
        row = self._rows.get(data.name)
        if row is None or shape is None or not _within(row, [axis]):
            return None
        at = axis % (len(row) + 1) - 1
        return (*row[:at], *shape, *row[at + 1 :])

    def padded(self, node: gs.Node) -> Row | None:
        row, pads = self._row(node), self._integers(node, "pads", 1)
        if row is None or not pads or len(node.inputs) > 3 or not self._constant(node.inputs[2:]):
            return None
        rank = len(row) + 1
        padded = [at for at, size in enumerate(pads[: 2 * rank]) if size]
        fits = len(pads) == 2 * rank and 0 not in (at % rank for at in padded)
        return _forgotten(row, [at % rank for at in padded]) if fits else None

    def resized(self, node: gs.Node) -> Row | None:
        row, (_, *others) = self._row(node), node.inputs
        # A crop may begin between two rows, and sizes count the rows of one batch only.
        crops = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        if (
            row is None
            or not others
            or crops
            or "axes" in node.attrs
            or any(each.name for each in others[2:])
        ):
            return None
        # Scales were the second input before there was a region of interest.
        scales = self._constants.value(others[:2][-1])
        if scales is None or scales.size != len(row) + 1 or scales.flat[0] != 1:
            return None
        return _forgotten(row, [at for at, scale in enumerate(scales.flat) if scale != 1])

    def tiled(self, node: gs.Node) -> Row | None:
        row, times = self._row(node), self._integers(node, "repeats", 1)
        if row is None or not times or times[0] != 1:
            return None
        return _forgotten(row, [at for at, count in enumerate(times) if count != 1])

    def _row(self, node: gs.Node) -> Row | None:
        return self._rows.get(node.inputs[0].name)

    def _constant(self, tensors: Iterable[gs.Tensor]) -> bool:
        return all(not tensor.name or self._constants.is_constant(tensor) for tensor in tensors)

    def _rowless(self, tensor: gs.Tensor, axes: int) -> bool:
        """Whether a constant is the same to every row, of so many axes, of a tensor that it is broadcast beside."""
        shape = self._constants.shape(tensor) if self._constant([tensor]) else None
        return shape is not None and (len(shape) <= axes or (len(shape) == axes + 1 and shape[0] == 1))

    def _integers(self, node: gs.Node, name: str, at: int) -> list[int] | None:
        """An attribute, or the constant input that came in its place in later opsets."""
        if name in node.attrs:
            return [int(each) for each in node.attrs[name]]
        if at >= len(node.inputs) or not node.inputs[at].name:
            return None
        value = self._constants.value(node.inputs[at])
        return None if value is None else [int(each) for each in value.reshape(-1)]


def _number(size: int | str | None) -> int | None:
    return size if isinstance(size, int) and size > 0 else None


def _within(row: Sequence[int | None], axes: Iterable[int]) -> bool:
    """Whether all axes of a tensor lie within its rows."""
    return all(-len(row) <= axis <= len(row) and axis != 0 for axis in axes)


def _forgotten(row: Row, axes: Iterable[int]) -> Row:
    """The row of a tensor some of whose axes get another size."""
    changed = {axis % (len(row) + 1) for axis in axes}
    return tuple(None if at in changed else size for at, size in enumerate(row, 1))


def _collapsed(row: Row, axes: Iterable[int], node: gs.Node) -> Row:
    """The row of a tensor whose axes are reduced to one place each."""
    gone = {axis % (len(row) + 1) for axis in axes}
    if node.attrs.get("keepdims", 1):
        return tuple(1 if at in gone else size for at, size in enumerate(row, 1))
    return tuple(size for at, size in enumerate(row, 1) if at not in gone)


def _broadcast(shapes: Sequence[Sequence[int | None]], axes: int) -> Row:
    """What shapes of so many axes at most are broadcast to, aligned at their ends."""
    filled = [(*(1,) * (axes - len(shape)), *shape) for shape in shapes]
    made: list[int | None] = []
    for sizes in zip(*filled, strict=True):
        large = [size for size in sizes if size is not None and size != 1]
        made.append(large[0] if large else None if None in sizes else 1)
    return tuple(made)


def _product(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


_RULES: Mapping[str, Callable[[_Prover, gs.Node], Row | None]] = {
    **dict.fromkeys(_IN_PLACE, _Prover.in_place),
    **dict.fromkeys(_SPATIAL, _Prover.spatial),
    **dict.fromkeys(_ALONG, _Prover.along),
    "BatchNormalization": _Prover.batch_normalized,
    "Concat": _Prover.concat,
    "Flatten": _Prover.flattened,
    "Gather": _Prover.gathered,
    "Gemm": _Prover.gemm,
    "MatMul": _Prover.matmul,
    "Pad": _Prover.padded,
    "Reshape": _Prover.reshaped,
    "Resize": _Prover.resized,
    "Slice": _Prover.sliced,
    "Squeeze": _Prover.squeezed,
    "Tile": _Prover.tiled,
    "Transpose": _Prover.transposed,
    "Unsqueeze": _Prover.unsqueezed,
    "Upsample": _Prover.resized,
}
