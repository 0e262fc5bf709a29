"""What a node does to every channel: y = scale * x + shift, for BatchNormalization and its decomposed forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.ops import KEEPS_AXES
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["Affine", "arithmetic", "batchnorm", "data_input", "keeps_values"]


@dataclass(frozen=True)
class Affine:
    """A per-channel affine map, in float64.

    Attributes:
        scale: one factor per channel.
        shift: one summand per channel.
    """

    scale: np.ndarray
    shift: np.ndarray


def batchnorm(node: gs.Node, channels: int, constants: Constants) -> Affine | str:
    """The map of a BatchNormalization in inference, or why it has none that could be folded.

    scale = gamma / sqrt(variance + epsilon) and shift = beta - mean * scale
    (https://onnx.ai/onnx/operators/onnx__BatchNormalization.html).
    """
    if node.attrs.get("training_mode", 0) or sum(1 for tensor in node.outputs if tensor.name) > 1:
        return "it is in training mode"
    if "consumed_inputs" in node.attrs and not node.attrs.get("is_test", 0):
        return "it is in training mode"
    if not node.attrs.get("spatial", 1):
        return "it normalises every position by itself (spatial=0)"
    parameters = []
    for tensor, what in zip(node.inputs[1:5], ("scale", "bias", "mean", "variance"), strict=True):
        value = constants.value(tensor)
        if value is None:
            return f"its {what} {tensor.name!r} is not a constant"
        if value.size != channels:
            return f"its {what} has {value.size} values for {channels} channels"
        if not np.isfinite(value.astype(np.float64)).all():
            return f"its {what} {tensor.name!r} holds NaN or infinity"
        parameters.append(value.astype(np.float64).reshape(-1))
    gamma, beta, mean, variance = parameters
    spread = variance + node.attrs.get("epsilon", 1e-5)
    if (spread <= 0).any():
        return "its variance plus epsilon is not positive"
    scale = gamma / np.sqrt(spread)
    return Affine(scale, beta - mean * scale)


def data_input(node: gs.Node, constants: Constants) -> int | None:
    """Which input of a two-sided operator is the data, when the other side is a constant."""
    if len(node.inputs) != 2 or node.attrs:
        return None
    constant = [constants.is_constant(tensor) for tensor in node.inputs]
    return constant.index(False) if sum(constant) == 1 else None


def arithmetic(
    node: gs.Node, channels: int, axis: int, rank: int | None, constants: Constants
) -> Affine | None:
    """The map of an Add, Sub, Mul or Div whose constant has one value per channel.

    Args:
        node: the operator; `data_input` says which side is the constant.
        channels: number of channels of the data.
        axis: the data's channel axis, counted from the end (negative), as broadcasting counts.
        rank: the data's number of axes, None where unknown; a constant of more axes would add some.
        constants: the values of the graph's constants.
    """
    side = data_input(node, constants)
    if side is None:
        return None
    value = constants.value(node.inputs[1 - side])
    if value is None or value.size != channels or not -axis <= value.ndim <= (rank or -axis):
        return None
    if value.shape[axis] != channels:
        return None
    operand = value.astype(np.float64).reshape(-1)
    ones, zeros = np.ones(channels), np.zeros(channels)
    if not np.isfinite(operand).all():
        return None
    if node.op == "Add":
        return Affine(ones, operand)
    if node.op == "Sub":
        return Affine(ones, -operand) if side == 0 else Affine(-ones, operand)
    if node.op == "Mul":
        return Affine(operand, zeros)
    if node.op == "Div" and side == 0 and operand.all():
        return Affine(1 / operand, zeros)
    return None


def keeps_values(node: gs.Node, constants: Constants) -> bool:
    """Whether a node passes its first input on as it is: Identity, and Dropout in inference."""
    if kind(node) not in KEEPS_AXES:
        return False
    return kind(node) != "Dropout" or _is_inert(node, constants)


def _is_inert(node: gs.Node, constants: Constants) -> bool:
    """Whether a Dropout drops nothing, and nobody asks what it keeps."""
    if any(tensor.name for tensor in node.outputs[1:]):
        return False
    if "consumed_inputs" in node.attrs or "is_test" in node.attrs:
        return bool(node.attrs.get("is_test", 0))
    if len(node.inputs) < 3 or not node.inputs[2].name:
        return True
    training = constants.value(node.inputs[2])
    return training is not None and not training.any()
