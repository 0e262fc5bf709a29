"""Operators with constant weights, and what a per-channel affine map before or after them does to these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants
    from onnx_trtcal.graph.fold.affine import Affine
    from onnx_trtcal.graph.weighted import WeightedOp

__all__ = ["Linear", "after", "before", "linear_of"]

# Elements of a weight that are worked on at a time.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Linear:
    """A weighted operator with constant weights.

    Attributes:
        node: the operator.
        op: what is particular about its type.
        slot: which of its inputs is the weight.
        weight: the weight as stored.
        bias: what it adds to its result, in float64; one value per channel for a convolution, else of any
            shape that broadcasts to the result; None without one.
        channels: number of output channels.
        axis: the output's channel axis, counted from the end.
        rank: the output's number of axes, None where it is not known.
    """

    node: gs.Node
    op: WeightedOp
    slot: int
    weight: np.ndarray
    bias: np.ndarray | None
    channels: int
    axis: int
    rank: int | None


def linear_of(node: gs.Node, constants: Constants) -> Linear | str | None:
    """The linear operator a node is; None when it is not one, and a reason when nothing can be folded into it."""
    op = WEIGHTED.get(kind(node))
    if op is None:
        return None
    found = _weight(node, constants) if len(op.weight_inputs) == 1 else _one_side(node, constants)
    if isinstance(found, str):
        return found
    slot, weight = found
    bias = None
    if op.bias_input is not None and len(node.inputs) > op.bias_input and node.inputs[op.bias_input].name:
        stored = constants.value(node.inputs[op.bias_input])
        if stored is None:
            return f"the bias of the {node.op} before it is not a constant"
        bias = stored.astype(np.float64) * node.attrs.get(op.bias_factor, 1.0)
    if op.obsolete_attribute in node.attrs:
        return f"the {node.op} before it is of an opset below 7"
    _, channels = op.channels(node.attrs, slot, weight.shape)
    (axis,) = op.output_axes(slot, weight.ndim)
    if bias is not None and not _fits(bias, channels, axis):
        return f"the bias of the {node.op} before it does not fit its channels"
    shape = node.outputs[0].shape
    rank = op.output_rank(weight.ndim, None if shape is None else len(shape))
    return Linear(node, op, slot, weight, bias, channels, axis, rank)


def _fits(bias: np.ndarray, channels: int, axis: int) -> bool:
    """Whether a bias can be added to so many channels along an axis, counted from the end."""
    if axis != -1:
        return bias.shape == (channels,)
    return bias.ndim == 0 or bias.shape[-1] in (1, channels)


def _weight(node: gs.Node, constants: Constants) -> tuple[int, np.ndarray] | str:
    """The weight of an operator that has it at one input only, and that input; or a reason against it."""
    (slot,) = WEIGHTED[kind(node)].weight_inputs
    weight = constants.value(node.inputs[slot])
    if weight is None:
        return f"the weight of the {node.op} before it is not a constant"
    if not _is_float(weight):
        return f"the weight of the {node.op} before it is not floating point"
    return slot, weight


def _one_side(node: gs.Node, constants: Constants) -> tuple[int, np.ndarray] | str:
    """The weight of an operator that may have it on either side, and its input; or a reason against it."""
    constant = [constants.is_constant(tensor) for tensor in node.inputs]
    if sum(constant) != 1:
        return (
            f"neither side of the {node.op} before it is a constant"
            if not any(constant)
            else "it is a constant"
        )
    slot = constant.index(True)
    weight = constants.value(node.inputs[slot])
    if weight is None or not _is_float(weight) or weight.ndim < 2:
        return f"the constant side of the {node.op} before it is not a floating-point matrix"
    data = node.inputs[1 - slot].shape
    if not slot and (data is None or len(data) < 2):
        return f"the {node.op} before it multiplies a constant by what may be a vector"
    return slot, weight


def _is_float(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" or values.dtype.name == "bfloat16"


def after(linear: Linear, affine: Affine) -> tuple[np.ndarray, np.ndarray] | str:
    """Weight and bias of the operator that gives at once what the map makes of the operator's result.

    Returns:
        The weight in its stored type, and the bias in float64 (the shift alone where there is none); or, when a
        number would not fit the type, a reason.
    """
    weight = linear.weight
    factor = linear.op.along_weight(linear.node.attrs, linear.slot, weight.shape, affine.scale)
    bias = affine.shift if linear.bias is None else linear.bias * affine.scale + affine.shift
    return _fitting(weight, factor, bias)


def before(linear: Linear, affine: Affine) -> tuple[np.ndarray, np.ndarray] | str:
    """Weight and bias of the Conv that takes the map's input in place of its output; results as in `after`.

    Only right where the Conv pads nothing or the shift is zero: padding comes after the map.
    """
    weight = linear.weight
    group = linear.node.attrs.get("group", 1)

    def along_inputs(values: np.ndarray) -> np.ndarray:
        rows = np.repeat(values.reshape(group, -1), weight.shape[0] // group, axis=0)
        return rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))

    shift, axes = along_inputs(affine.shift), tuple(range(1, weight.ndim))
    added = np.concatenate([(block * shift[rows]).sum(axis=axes) for rows, block in _blocks(weight)])
    bias = added if linear.bias is None else linear.bias + added
    return _fitting(weight, along_inputs(affine.scale), bias)


def _blocks(weight: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """A weight piece by piece along axis 0, in float64: all of it at once could be more than fits."""
    rows = max(1, _BLOCK // max(1, weight[:1].size))
    for start in range(0, len(weight), rows):
        block = slice(start, start + rows)
        yield block, weight[block].astype(np.float64)


def _fitting(weight: np.ndarray, factor: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray] | str:
    """The weight times a factor that broadcasts to it, in its own type, and the bias."""
    dtype = weight.dtype
    stored = np.empty(weight.shape, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        fits = bool(np.isfinite(bias.astype(dtype).astype(np.float64)).all())
        for rows, block in _blocks(weight):
            stored[rows] = block * (factor[rows] if len(factor) > 1 else factor)
            fits = fits and bool(np.isfinite(stored[rows]).all())
    return (stored, bias) if fits else f"folded weights would not be finite {dtype.name} numbers"
