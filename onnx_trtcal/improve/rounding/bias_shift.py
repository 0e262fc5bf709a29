"""The shift of each channel that makes its mean behind the activation what it is in floating point.

Matching the mean in front of an activation is not enough: where a channel lies on both sides of a kink, as at the 6 of
a ReLU6, rounding errors that cancel before it do not cancel behind it. The mean behind it rises with the shift almost
everywhere, and nearly in proportion, so that a few steps of regula falsi find it, whatever the activation is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["channel_means", "find_shift"]

_STEPS = 6
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
    at_zero, at_low, at_high = (excess(sign * reach) for sign in (0, -1, 1))
    possible = (at_low <= 0) & (at_high >= 0)
    # One side is known: the sign at zero.
    above = at_zero > 0
    low, at_low = np.where(above, -reach, 0.0), np.where(above, at_low, at_zero)
    high, at_high = np.where(above, 0.0, reach), np.where(above, at_zero, at_high)
    best, least = np.zeros_like(reach), np.abs(at_zero)
    for _ in range(_STEPS):
        rise = at_high - at_low
        share = np.divide(-at_low, rise, out=np.full_like(rise, 0.5), where=rise > 0)
        middle = low + share * (high - low)
        found, was_above = excess(middle), above
        above = found > 0
        # An end that stays a second time counts half (the Illinois rule), so that it moves, too.
        at_low = np.where(above, np.where(was_above, at_low / 2, at_low), found)
        at_high = np.where(above, found, np.where(was_above, at_high, at_high / 2))
        low, high = np.where(above, low, middle), np.where(above, middle, high)
        closer = np.abs(found) < least
        best, least = np.where(closer, middle, best), np.where(closer, np.abs(found), least)
    return np.asarray(np.where(possible, best, 0.0))
