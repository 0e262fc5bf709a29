"""The shift of each channel that makes its mean behind the activation what it is in floating point.

Matching the mean in front of an activation is not enough: where a channel lies on both sides of a kink, as at the 6 of
a ReLU6, rounding errors that cancel before it do not cancel behind it. The mean behind it rises with the shift almost
everywhere, so that bisection finds it, whatever the activation is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["channel_means", "find_shift"]

_STEPS = 16
# How far a shift may go, in standard deviations of what the activation reads.
_REACH = 0.5


def channel_means(values: np.ndarray) -> np.ndarray:
    """float64[channels]: the mean of each column of [places, channels]."""
    means: np.ndarray = values.mean(axis=0, dtype=np.float64)
    return means


def find_shift(
    values: np.ndarray, wanted: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The shift of every channel.

    Args:
        values: what the activation reads in the quantized net, [places, channels].
        wanted: float64[channels], the mean behind the activation in floating point.
        activation: applied to an array like `values`, element by element.

    Returns:
        float64[channels]; 0 for a channel that no shift within half a standard deviation brings to its mean.
    """

    def excess(shift: np.ndarray) -> np.ndarray:
        found = channel_means(activation((values + shift).astype(values.dtype)))
        return np.asarray(found - wanted)

    reach = _REACH * values.std(axis=0, dtype=np.float64)
    at_zero = excess(np.zeros_like(reach))
    low, high = -reach, reach
    possible = (excess(low) <= 0) & (excess(high) >= 0)
    # One side is known: the sign at zero.
    low = np.where(at_zero <= 0, 0.0, low)
    high = np.where(at_zero > 0, 0.0, high)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = excess(middle) > 0
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    shift = (low + high) / 2
    better = possible & (np.abs(excess(shift)) < np.abs(at_zero))
    return np.asarray(np.where(better, shift, 0.0))
