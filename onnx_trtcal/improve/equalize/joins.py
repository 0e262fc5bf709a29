"""How channel numbers travel through ops with several inputs or outputs, and through those that add channels.

Each function numbers the outputs of a node and returns True, or returns False where factors do not pass it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.improve.equalize.channels import UNSCALED
from onnx_trtcal.improve.equalize.moves import split_sizes
from onnx_trtcal.improve.equalize.roles import Scaling, Shift

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.improve.equalize.channels import Channels

__all__ = ["JOINS"]


def _sum(found: Channels, node: gs.Node) -> bool:
    """A sum, a difference, a maximum: of x / s and y / s it is that of x and y, divided by s."""
    constant = [found.is_constant(tensor) for tensor in node.inputs]
    data = [found.of(tensor) for tensor, fixed in zip(node.inputs, constant, strict=True) if not fixed]
    if not data or any(numbers is None for numbers in data):
        return False
    values = [
        found.around.constants.value(tensor)
        for tensor, fixed in zip(node.inputs, constant, strict=True)
        if fixed
    ]
    if any(value is None or not _is_float(value) for value in values):
        return False
    rank = max(
        *(numbers.ndim for numbers in data if numbers is not None),
        *(value.ndim for value in values if value is not None),
        0,
    )
    aligned = [_with_rank(numbers, rank) for numbers in data if numbers is not None]
    try:
        shape = np.broadcast_shapes(*(numbers.shape for numbers in aligned))
        np.broadcast_shapes(
            shape, *(value.shape for value in values if value is not None and _varies(shape, value))
        )
    except ValueError:
        return False
    for other in aligned[1:]:
        found.tie(aligned[0], other)
    # All of them are tied: any of them that has as many axes to tell apart will do.
    numbers = np.broadcast_to(aligned[0], shape)
    found.ids[node.outputs[0].name] = numbers
    at = tuple(index for index, fixed in enumerate(constant) if fixed)
    if at:
        found.shifts.append(Shift(node, at, numbers))
    return True


def _varies(shape: tuple[int, ...], value: np.ndarray) -> bool:
    """Whether a constant differs along an axis along which channels differ, too: the sizes must then agree."""
    return any(size > 1 and other > 1 for size, other in zip(shape[::-1], value.shape[::-1], strict=False))


def _product(found: Channels, node: gs.Node) -> bool:
    """A product with a constant, or with a gate that is broadcast over a tensor."""
    if len(node.inputs) != 2:
        return False
    constant = [found.is_constant(tensor) for tensor in node.inputs]
    if any(constant):
        at = constant.index(True)
        return False if kind(node) == "Div" and at == 0 else _scaled(found, node, at)
    if kind(node) == "Div":
        return False
    shapes = [found.around.shape(tensor) for tensor in (*node.inputs, node.outputs[0])]
    if any(shape is None for shape in shapes) or shapes[0] == shapes[1]:
        return False
    whole = next((index for index in (0, 1) if shapes[index] == shapes[2]), None)
    numbers = None if whole is None else found.of(node.inputs[whole])
    if whole is None or numbers is None:
        return False
    found.pin(node.inputs[1 - whole])
    found.ids[node.outputs[0].name] = numbers
    return True


def _scaled(found: Channels, node: gs.Node, at: int) -> bool:
    value = found.around.constants.value(node.inputs[at])
    if value is None or not _is_float(value):
        return False
    numbers = found.of(node.inputs[1 - at])
    if value.size == 1:
        if numbers is None or value.ndim > numbers.ndim or not value.reshape(-1)[0]:
            return False
        found.ids[node.outputs[0].name] = numbers
        return True
    shape = found.around.shape(node.outputs[0])
    if shape is None or len(shape) < value.ndim or sum(size > 1 for size in value.shape) != 1:
        return False
    layout = _with_rank(value, len(shape)).shape
    read = np.full([1] * len(shape), UNSCALED) if numbers is None else _with_rank(numbers, len(shape))
    if any(size > 1 and size != other for size, other in zip(read.shape, layout, strict=True)):
        return False
    made = found.fresh(layout)
    found.ids[node.outputs[0].name] = made
    found.makers.append(Scaling(node, at, read, made))
    return True


def _concat(found: Channels, node: gs.Node) -> bool:
    data = [found.of(tensor) for tensor in node.inputs]
    ranks = {numbers.ndim for numbers in data if numbers is not None}
    if len(ranks) != 1:
        return False
    (rank,) = ranks
    axis = int(node.attrs.get("axis", 1)) % rank
    known = [np.full([1] * rank, UNSCALED) if numbers is None else numbers for numbers in data]
    if all(numbers.shape[axis] == 1 for numbers in known):
        sizes = [_size(found, tensor, axis) for tensor in node.inputs]
        others = [numbers.size > 1 for numbers in known]
        if any(size is None for size in sizes) or any(others):
            # Joined along positions: the same channels in all of them.
            return _joined_positions(found, node, known)
    parts = []
    shape = np.broadcast_shapes(*(tuple(np.delete(numbers.shape, axis)) for numbers in known))
    for tensor, numbers in zip(node.inputs, known, strict=True):
        size = numbers.shape[axis] if numbers.shape[axis] > 1 else _size(found, tensor, axis)
        if size is None:
            return False
        wanted = (*shape[:axis], size, *shape[axis:])
        parts.append(np.broadcast_to(numbers, wanted))
    found.ids[node.outputs[0].name] = np.concatenate(parts, axis)
    return True


def _joined_positions(found: Channels, node: gs.Node, known: list[np.ndarray]) -> bool:
    try:
        shape = np.broadcast_shapes(*(numbers.shape for numbers in known))
    except ValueError:
        return False
    for other in known[1:]:
        found.tie(known[0], other)
    found.ids[node.outputs[0].name] = np.broadcast_to(known[0], shape)
    return True


def _size(found: Channels, tensor: gs.Tensor, axis: int) -> int | None:
    shape = found.around.shape(tensor)
    size = None if shape is None or axis >= len(shape) else shape[axis]
    return size if isinstance(size, int) else None


def _split(found: Channels, node: gs.Node) -> bool:
    numbers = found.of(node.inputs[0])
    if numbers is None:
        return False
    axis = int(node.attrs.get("axis", 0)) % numbers.ndim
    if numbers.shape[axis] == 1:
        found.ids.update({tensor.name: numbers for tensor in node.outputs})
        return True
    sizes = split_sizes(node, found.around, axis)
    if sizes is None or sum(sizes) != numbers.shape[axis] or len(sizes) != len(node.outputs):
        return False
    parts = np.split(numbers, np.cumsum(sizes)[:-1], axis)
    found.ids.update({tensor.name: part for tensor, part in zip(node.outputs, parts, strict=True)})
    return True


def _pad(found: Channels, node: gs.Node) -> bool:
    """Padding with zeros: channels that it adds are zero whatever their factors are."""
    numbers = found.of(node.inputs[0])
    name = "pads" if "pads" in node.attrs or "paddings" not in node.attrs else "paddings"
    pads = found.around.integers(node, 1, name)
    if numbers is None or pads is None:
        return False
    if len(node.inputs) > 3 and node.inputs[3].name:
        axes = found.around.integers(node, 3, "")
        if axes is None:
            return False
    else:
        axes = [*range(numbers.ndim)]
    mode = node.attrs.get("mode", "constant")
    widths = [(0, 0)] * numbers.ndim
    for at, axis in enumerate(axes):
        if numbers.shape[axis] > 1:
            widths[axis] = (pads[at], pads[at + len(axes)])
    if mode == "constant" and not _pads_zero(found, node):
        return False
    if not any(any(width) for width in widths):
        found.ids[node.outputs[0].name] = numbers
        return True
    if mode != "constant" or any(min(width) < 0 for width in widths):
        return False
    for axis, (before, after) in enumerate(widths):
        if before or after:
            shape = [*numbers.shape]
            ends = []
            for count in (before, after):
                shape[axis] = count
                ends.append(found.fresh(tuple(shape)))
            numbers = np.concatenate([ends[0], numbers, ends[1]], axis)
    found.ids[node.outputs[0].name] = numbers
    return True


def _pads_zero(found: Channels, node: gs.Node) -> bool:
    if len(node.inputs) > 2 and node.inputs[2].name:
        return found.around.constants.scalar(node.inputs[2]) == 0
    return not node.attrs.get("value", 0)


def _with_rank(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape((1,) * (rank - values.ndim) + values.shape)


def _is_float(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" or values.dtype.name == "bfloat16"


JOINS: Mapping[str, Callable[[Channels, gs.Node], bool]] = {
    **dict.fromkeys(("Add", "Max", "Mean", "Min", "Sub", "Sum"), _sum),
    **dict.fromkeys(("Div", "Mul"), _product),
    "Concat": _concat,
    "Pad": _pad,
    "Split": _split,
}
