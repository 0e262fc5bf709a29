"""Symmetric INT8 scales of weights, one per output channel, as TensorRT expects them on Q/DQ nodes.

TensorRT accepts per-channel scales on weights only, along one axis, each of them positive, with a zero point
of zero (TensorRT developer guide, "Explicit Quantization").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_trtcal.errors import ModelError

__all__ = [
    "DEAD",
    "WEIGHT_MAX",
    "WeightScales",
    "broadcast_scales",
    "quantize_weight",
    "weight_limit",
    "weight_scales",
]

WEIGHT_MAX = 127
"""The largest magnitude of an INT8 weight: its grid is symmetric."""

DEAD = 1e-4
"""A channel whose largest magnitude is below this is dead: its own scale would be too small to be safe."""


@dataclass(frozen=True)
class WeightScales:
    """Scales of one weight tensor.

    Attributes:
        scales: float32[n], n the length of `axis`; float32[1] for one scale per tensor.
        amax: float32[n], the largest magnitude of each channel.
        axis: the channel axis of the weight tensor; None for one scale per tensor.
        dead: the channels whose largest magnitude is below 1e-4.
    """

    scales: np.ndarray
    amax: np.ndarray
    axis: int | None
    dead: tuple[int, ...]


def weight_limit(bits: int) -> int:
    """The largest magnitude of a weight's integers: 127 for 8 bits, 63 for 7."""
    return (1 << (bits - 1)) - 1


def weight_scales(
    weight: np.ndarray, axis: int | None, name: str = "", limit: int = WEIGHT_MAX
) -> WeightScales:
    """Scale = max|w| / limit of each channel along `axis`, or of the whole tensor when `axis` is None.

    A dead channel gets the scale of a channel whose largest magnitude is 1e-4 or, in a tensor that has
    nothing larger, of the tensor itself: positive, never so small that a bias in units of input scale times
    weight scale overflows, and no coarser than its neighbours. A tensor of zeros is treated as one of 1e-4.

    Args:
        weight: of any shape and float dtype.
        axis: the channel axis; None for one scale.
        name: the tensor's name, for errors.
        limit: the largest magnitude of an integer.

    Raises:
        ModelError: the weight holds NaN or Inf.
    """
    magnitude = np.abs(np.asarray(weight, dtype=np.float32))
    if axis is None:
        amax = magnitude.max(initial=0.0, keepdims=True).reshape(1)
    else:
        others = tuple(k for k in range(magnitude.ndim) if k != axis % magnitude.ndim)
        amax = magnitude.max(axis=others, initial=0.0)
    if not np.isfinite(amax).all():
        raise ModelError("a weight holds NaN or Inf", where=name, fix="export the model with finite weights")
    floor = min(np.float32(DEAD), amax.max(initial=0.0)) or np.float32(DEAD)
    scales = (np.maximum(amax, floor) / np.float32(limit)).astype(np.float32)
    return WeightScales(scales, amax, axis, tuple(int(k) for k in np.flatnonzero(amax < np.float32(DEAD))))


def quantize_weight(
    weight: np.ndarray, scales: np.ndarray, axis: int | None, limit: int = WEIGHT_MAX
) -> np.ndarray:
    """int8 of the weight's shape: weight / scale in float32, rounded half to even and clipped to ±limit.

    Args:
        weight: of any shape and float dtype.
        scales: float32[n] along `axis`, or float32[1] when `axis` is None.
        axis: the channel axis; None for one scale.
        limit: the largest magnitude of an integer.
    """
    along = broadcast_scales(scales, axis, np.ndim(weight))
    steps = np.rint(np.asarray(weight, dtype=np.float32) / along.astype(np.float32))
    quantized: np.ndarray = np.clip(steps, -limit, limit).astype(np.int8)
    return quantized


def broadcast_scales(scales: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    """Scales in a shape that broadcasts to a weight of so many axes."""
    shape = [1] * rank
    if axis is not None:
        shape[axis] = scales.size
    return scales.reshape(shape)
