"""Groups of neighbouring channels whose magnitudes are far apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LEAST_CHANNELS", "group_bounds", "spread"]

LEAST_CHANNELS = 4
_TENFOLD = 100.0  # of power
# In how many samples, and by how much of their power, groups must differ that differ tenfold over all: of classes,
# which ones are large is another question in every sample.
_MOST_SAMPLES = 0.9
_IN_EACH = 10.0
_FLOOR = 1e-12  # of the largest power
# Less than what two groups of 4 that differ tenfold explain; groups that come about by chance are joined again.
_COST = 10.0


def group_bounds(power: np.ndarray, samples: Sequence[np.ndarray] = ()) -> tuple[int, ...]:
    """Positions at which a group of channels begins that differs tenfold in RMS from the one before it.

    Groups have at least 4 channels, and differ in the geometric mean of their channels' power, too: one loud channel
    makes no group. The bounds are where the logarithms of power, channel by channel, vary least within the groups.

    Args:
        power: mean square per channel, over all samples.
        samples: the same for some samples alone, in at least nine tenths of which neighbouring groups must differ in
            the same direction.
    """
    if power.size < 2 * LEAST_CHANNELS or not power.max() > 0:
        return ()
    bounds = _split(_logs(power))
    while bounds:
        edges = [0, *bounds, power.size]
        apart = [_apart(power, samples, *edges[at : at + 3]) for at in range(len(bounds))]
        weakest = min(range(len(bounds)), key=apart.__getitem__)
        if apart[weakest] >= _TENFOLD:
            break
        del bounds[weakest]
    return tuple(bounds)


def spread(power: np.ndarray) -> float:
    """The variance of the logarithm of power along an axis; 0.0 without any power."""
    if not power.size or not power.max() > 0:
        return 0.0
    return float(np.var(_logs(power)))


def _logs(power: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(power, _FLOOR * power.max())))


def _split(logs: np.ndarray) -> list[int]:
    """The bounds of the groups that leave the least sum of squares within them, each group costing something."""
    size = logs.size
    sums = np.concatenate([[0.0], np.cumsum(logs)])
    squares = np.concatenate([[0.0], np.cumsum(logs**2)])
    least = np.full(size + 1, np.inf)
    least[0] = 0.0
    came_from = np.zeros(size + 1, np.int64)
    for stop in range(LEAST_CHANNELS, size + 1):
        starts = np.arange(stop - LEAST_CHANNELS + 1)
        within = squares[stop] - squares[starts] - (sums[stop] - sums[starts]) ** 2 / (stop - starts)
        total = least[starts] + within + _COST
        came_from[stop] = int(np.argmin(total))
        least[stop] = total[came_from[stop]]
    bounds: list[int] = []
    at = int(came_from[size])
    while at:
        bounds.insert(0, at)
        at = int(came_from[at])
    return bounds


def _ratio(one: float, other: float) -> float:
    if min(one, other) == 0:
        return math.inf if one != other else 1.0
    return max(one, other) / min(one, other)


def _apart(power: np.ndarray, samples: Sequence[np.ndarray], start: int, middle: int, stop: int) -> float:
    """How far two neighbouring groups are apart in power; 1.0 when most samples do not say so, too."""
    rising = bool(power[start:middle].mean() < power[middle:stop].mean())
    alike = 0
    for each in samples:
        one, other = each[start:middle].mean(), each[middle:stop].mean()
        alike += bool(_IN_EACH * min(one, other) <= max(one, other)) and bool(one < other) == rising
    if alike < _MOST_SAMPLES * len(samples):
        return 1.0
    logs = _logs(power)
    typical = math.exp(abs(float(logs[start:middle].mean() - logs[middle:stop].mean())))
    return min(_ratio(float(power[start:middle].mean()), float(power[middle:stop].mean())), typical)
