"""How an op that only moves values, or picks some of them, maps an axis of its output to axes of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.axis_sources import axis_source
from onnx_trtcal.graph.ops import KEEPS_AXES, RESHAPES
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.axis_sources import Dims
    from onnx_trtcal.graph.constants import Constants

__all__ = ["MovedAxis", "moved_axis"]


@dataclass(frozen=True)
class MovedAxis:
    """The axes of an op's first input that one axis of its output is made of.

    Attributes:
        axes: of the input.
        inside: the output's axis is a factor of the input's, see `AxisSource`.
        picked: the positions along the one input axis that the output's axis holds; None for all of them in order.
    """

    axes: tuple[int, ...]
    inside: bool = False
    picked: np.ndarray | None = None


def moved_axis(
    node: gs.Node, output: str, axis: int, shape_of: Callable[[str], Dims | None], constants: Constants
) -> MovedAxis | None:
    """Maps an axis back through an op.

    Args:
        node: the op.
        output: which of its outputs.
        axis: of the output, not negative.
        shape_of: tensor -> its shape; None where the rank is not known.
        constants: of the graph.

    Returns:
        None for an op that does more than move values, and where the shapes do not tell.
    """
    op = kind(node)
    if op in KEEPS_AXES or op == "Cast":
        return MovedAxis((axis,))
    before = shape_of(node.inputs[0].name) if node.inputs else None
    if before is None:
        return None
    if op in RESHAPES:
        after = shape_of(output)
        source = None if after is None else axis_source(before, after, axis)
        return None if source is None else MovedAxis(source.axes, source.inside)
    if op == "Transpose":
        order = node.attrs.get("perm") or range(len(before))[::-1]
        return MovedAxis((order[axis],))
    picked = _PICKS.get(op)
    return picked(node, output, axis, before, shape_of, constants) if picked else None


def _split(
    node: gs.Node,
    output: str,
    axis: int,
    before: Dims,
    shape_of: Callable[[str], Dims | None],
    _constants: Constants,
) -> MovedAxis | None:
    if axis != node.attrs.get("axis", 0) % len(before):
        return MovedAxis((axis,))
    start = 0
    for tensor in node.outputs:
        shape = shape_of(tensor.name)
        size = None if shape is None else shape[axis]
        if not isinstance(size, int):
            return None
        if tensor.name == output:
            return MovedAxis((axis,), picked=np.arange(start, start + size))
        start += size
    return None


def _slice(
    node: gs.Node,
    _output: str,
    axis: int,
    before: Dims,
    _shape_of: Callable[[str], Dims | None],
    constants: Constants,
) -> MovedAxis | None:
    given: dict[str, list[int] | None] = {}
    for at, name in enumerate(("starts", "ends", "axes", "steps"), 1):
        if name in node.attrs:
            given[name] = list(node.attrs[name])
        elif at < len(node.inputs) and node.inputs[at].name:
            value = constants.value(node.inputs[at])
            given[name] = None if value is None else [int(each) for each in value.reshape(-1)]
    starts, ends = given.get("starts"), given.get("ends")
    axes = given.get("axes", list(range(len(starts or ()))))
    if axes is None:
        return None
    places = [each % len(before) for each in axes]
    if axis not in places:
        return MovedAxis((axis,))
    steps = given.get("steps", [1] * len(axes))
    size = before[axis]
    if starts is None or ends is None or steps is None or not isinstance(size, int):
        return None
    at = places.index(axis)
    start, end, step = starts[at], ends[at], steps[at]
    # An end before the first value means "down to the first", which Python's slices write as None.
    stop = None if step < 0 and end < -size else end
    return MovedAxis((axis,), picked=np.arange(size)[start:stop:step])


def _gather(
    node: gs.Node,
    _output: str,
    axis: int,
    before: Dims,
    shape_of: Callable[[str], Dims | None],
    constants: Constants,
) -> MovedAxis | None:
    along = node.attrs.get("axis", 0) % len(before)
    if axis < along:
        return MovedAxis((axis,))
    shape = shape_of(node.inputs[1].name)
    if shape is None:
        return None
    if axis >= along + len(shape):
        return MovedAxis((axis - len(shape) + 1,))
    indices, size = constants.value(node.inputs[1]), before[along]
    if len(shape) != 1 or indices is None or not isinstance(size, int):
        return None
    return MovedAxis((along,), picked=indices.astype(np.int64) % size)


def _expand(
    _node: gs.Node,
    output: str,
    axis: int,
    before: Dims,
    shape_of: Callable[[str], Dims | None],
    _constants: Constants,
) -> MovedAxis | None:
    after = shape_of(output)
    at = axis - len(after) + len(before) if after is not None else -1
    return MovedAxis((at,)) if after is not None and at >= 0 and before[at] == after[axis] != 1 else None


_PICKS = {"Split": _split, "Slice": _slice, "Gather": _gather, "Expand": _expand}
