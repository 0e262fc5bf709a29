"""How channel numbers travel through ops that pass on values, or sums and maxima of values of one channel.

Each function is given the node, the numbers of its first input and the shapes, and returns the numbers of the first
output; None where they cannot be told. Numbers of a tensor are an int64 array of its rank; an axis along which all
channels are alike has length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.improve.equalize.reshaped import reshaped

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["MOVES", "Move", "Surroundings", "split_sizes"]

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Surroundings:
    """What a graph says beside the node itself.

    Attributes:
        constants: the values of its constants.
        shapes: tensor -> shape, None where not even the rank is known.
    """

    constants: Constants
    shapes: Mapping[str, Shape | None]

    def shape(self, tensor: gs.Tensor) -> Shape | None:
        """A tensor's shape, as far as it is known."""
        known = self.shapes.get(tensor.name)
        if known is None and tensor.shape is not None:
            known = tuple(tensor.shape)
        return known

    def integers(self, node: gs.Node, index: int, attribute: str) -> list[int] | None:
        """Integers that a node has as a constant input or, in older opsets, as an attribute; None without them."""
        if index < len(node.inputs) and node.inputs[index].name:
            value = self.constants.value(node.inputs[index])
            return None if value is None else [int(each) for each in value.reshape(-1)]
        given = node.attrs.get(attribute)
        return None if given is None else [int(each) for each in np.reshape(given, -1)]

    def is_given(self, node: gs.Node, index: int, attribute: str) -> bool:
        """Whether a node has such an input or attribute at all."""
        return (index < len(node.inputs) and bool(node.inputs[index].name)) or attribute in node.attrs


Move = Callable[["gs.Node", np.ndarray, Surroundings], np.ndarray | None]


def _same(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:  # noqa: ARG001 (a Move)
    return ids


def _clip(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    """A Clip at zero and nothing else is a Relu."""
    bounds: list[float | None] = []
    for index, name in ((1, "min"), (2, "max")):
        if index < len(node.inputs) and node.inputs[index].name:
            bound = around.constants.scalar(node.inputs[index])
            if bound is None:
                return None
            bounds.append(bound)
        else:
            bounds.append(node.attrs.get(name))
    endless = (None, -np.inf, np.inf)
    return ids if all(bound in endless or bound == 0 for bound in bounds) else None


def _dropout(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:  # noqa: ARG001 (a Move)
    training = len(node.inputs) > 2 and bool(node.inputs[2].name)
    return None if training else ids


def _pool(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:  # noqa: ARG001 (a Move)
    spatial = any(size > 1 for size in ids.shape[2:])
    return None if spatial or (len(node.outputs) > 1 and node.outputs[1].outputs) else ids


def _reduce(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    if around.is_given(node, 1, "axes"):
        axes = around.integers(node, 1, "axes")
        if axes is None:
            return None
    else:
        axes = [] if node.attrs.get("noop_with_empty_axes", 0) else [*range(ids.ndim)]
    if not axes and not node.attrs.get("noop_with_empty_axes", 0):
        axes = [*range(ids.ndim)]
    if any(ids.shape[axis] > 1 for axis in axes):
        return None
    gone = tuple({axis % ids.ndim for axis in axes})
    return ids if node.attrs.get("keepdims", 1) else np.squeeze(ids, gone)


def _transpose(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:  # noqa: ARG001 (a Move)
    return ids.transpose(node.attrs.get("perm"))


def _reshape(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    before, after = around.shape(node.inputs[0]), around.shape(node.outputs[0])
    return None if before is None or after is None else reshaped(ids, before, after)


def _flatten(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    found = _reshape(node, ids, around)
    before = around.shape(node.inputs[0])
    axis = int(node.attrs.get("axis", 1))
    if found is not None or before is None or axis != 1 or before[0] is None:
        return found
    # A Flatten keeps axis 0, whatever inference says of it.
    rest = [size for size in before[1:] if isinstance(size, int)]
    if len(rest) != len(before) - 1:
        return None
    return reshaped(ids, ("items", *rest), ("items", int(np.prod(rest))))


def _squeeze(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    axes = around.integers(node, 1, "axes")
    if axes is None or any(ids.shape[axis] > 1 for axis in axes):
        return _reshape(node, ids, around)
    return np.squeeze(ids, tuple({axis % ids.ndim for axis in axes}))


def _unsqueeze(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    axes = around.integers(node, 1, "axes")
    return None if axes is None else np.expand_dims(ids, tuple(axes))


def _resize(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    return ids if _keeps_sizes(node, ids, around) or _scales_one(node, ids, around) else None


def _keeps_sizes(node: gs.Node, ids: np.ndarray, around: Surroundings) -> bool:
    after = around.shape(node.outputs[0])
    return (
        after is not None
        and len(after) == ids.ndim
        and all(size in (1, now) for size, now in zip(ids.shape, after, strict=True))
    )


def _scales_one(node: gs.Node, ids: np.ndarray, around: Surroundings) -> bool:
    """Whether the axes along which channels differ are scaled by 1."""
    if node.op == "Upsample" and len(node.inputs) < 2:
        scales = node.attrs.get("scales")
    else:
        at = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
        given = node.inputs[at] if at < len(node.inputs) and node.inputs[at].name else None
        scales = None if given is None else around.constants.value(given)
    if scales is None or len(scales) != ids.ndim:
        return False
    return all(size == 1 or scale == 1 for size, scale in zip(ids.shape, scales, strict=True))


def _slice(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    starts, ends = around.integers(node, 1, "starts"), around.integers(node, 2, "ends")
    axes = around.integers(node, 3, "axes") if around.is_given(node, 3, "axes") else None
    if axes is None:
        if around.is_given(node, 3, "axes"):
            return None
        axes = [*range(len(starts or ids.shape))]
    if all(ids.shape[axis] == 1 for axis in axes):
        return ids
    steps = around.integers(node, 4, "steps") if around.is_given(node, 4, "steps") else [1] * len(axes)
    if starts is None or ends is None or steps is None:
        return None
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if ids.shape[axis] == 1:
            continue
        # An end before the first element, as -2^63 with a negative step, is none.
        size = ids.shape[axis]
        stop = None if step < 0 and end < -size else end
        ids = ids[(slice(None),) * (axis % ids.ndim) + (slice(start, stop, step),)]
    return ids


def _gather(node: gs.Node, ids: np.ndarray, around: Surroundings) -> np.ndarray | None:
    axis = int(node.attrs.get("axis", 0))
    shape = around.constants.shape(node.inputs[1]) or around.shape(node.inputs[1])
    if shape is None:
        return None
    axis %= ids.ndim
    if ids.shape[axis] == 1:
        return ids.reshape((*ids.shape[:axis], *[1] * len(shape), *ids.shape[axis + 1 :]))
    indices = around.constants.value(node.inputs[1])
    return None if indices is None else ids.take(indices, axis)


def split_sizes(node: gs.Node, around: Surroundings, axis: int) -> list[int] | None:
    """How long the outputs of a Split are along its axis; None where that is not known."""
    sizes = around.integers(node, 1, "split")
    if sizes is not None:
        return sizes
    shapes = [around.shape(tensor) for tensor in node.outputs]
    found = [shape[axis] for shape in shapes if shape is not None]
    if len(found) != len(shapes) or not all(isinstance(size, int) for size in found):
        return None
    return [int(size or 0) for size in found]


# Positively homogeneous ops, f(s x) = s f(x), that keep channels apart; besides those with several inputs or outputs.
MOVES: Mapping[str, Move] = {
    **dict.fromkeys(("Abs", "Identity", "LeakyRelu", "Neg", "Relu"), _same),
    **dict.fromkeys(
        ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"), _pool
    ),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
    "Clip": _clip,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
