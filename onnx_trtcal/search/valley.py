"""The lowest point of an error over a threshold, from a few measurements on a few samples.

On one side of the valley values are rounded, and the error grows by the square of the threshold; on the other they are
clipped. The valley is walked down in half octaves and measured in quarters around its bottom. Then the sum of both is
fitted: how much the network minds rounding, and how much it minds clipping. What is clipped differs from sample to
sample far more than that, and is known of all of them: the histogram tells. So a few samples find a threshold for all;
and the one that is best on the few themselves is found as well, since the network minds large values less than small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["clipping_error", "lowest", "lowest_for_all", "walk_down"]

Clipped = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# Octaves: steps on the way down and around the bottom, the last place, and what need not be told apart.
_FAR, _NEAR, _LEAST = 0.5, 0.25, -3.5
_ALIKE_PLACES = 0.1
# How far from the bottom measurements are fitted, and the powers of the threshold that clipping error may fall by.
_REACH = 0.8
_POWERS = (2, 3, 4, 6, 9, 13, 20)
# Unseen samples reach further than those at hand: of thresholds whose errors differ by so little, the larger is safer.
_ALIKE = 0.02
_FINE = 32  # places in an octave


def walk_down(errors: Callable[[Sequence[float]], Iterable[float]], most: float) -> dict[float, float]:
    """Measures thresholds until the lowest of them has neighbours on both sides, or is at an end.

    Args:
        errors: the error at some places, which are octaves above the threshold to start from, or below it.
        most: the last place: where the threshold is the largest magnitude.

    Returns:
        Place -> error, both as they were measured.
    """
    found: dict[float, float] = {}

    def measure(*places: float | None) -> bool:
        new = [place for place in places if place is not None and _is_new(place, found)]
        found.update(zip(new, map(float, errors(new)), strict=True) if new else ())
        return bool(new)

    measure(0.0, -_FAR, _up(0.0, _FAR, most))
    while True:
        best = min(found, key=lambda place: (found[place], -place))
        wanted: tuple[float | None, ...]
        if best == min(found) and best - _FAR >= _LEAST:
            wanted = (best - _FAR, None)
        elif best == max(found) and _up(best, _FAR, most) is not None:
            wanted = (None, _up(best, _FAR, most))
        else:
            wanted = (best - _NEAR, _up(best, _NEAR, most))
        if not measure(*wanted):
            return found


def _up(place: float, step: float, most: float) -> float | None:
    """The next place: a step up, or the last one where that is not much further; None behind the last."""
    if most - place <= _ALIKE_PLACES:
        return None
    return most if most - place <= step + _ALIKE_PLACES else place + step


def _is_new(place: float, found: Mapping[float, float]) -> bool:
    return all(abs(place - other) > _ALIKE_PLACES for other in found)


def lowest(errors: Mapping[float, float]) -> float:
    """The largest place whose error is about the least on the samples that were measured: within a fiftieth.

    Clipping error is taken to fall by some power of the threshold.

    Args:
        errors: place in octaves -> error, at least one, not all of them 0.
    """
    places, values = _near(errors)
    fine = np.linspace(places[0], places[-1], round(_FINE * (places[-1] - places[0])) + 1)
    fits = []
    for power in _POWERS:
        # A power of the threshold is an exponential of its octaves.
        laws = np.stack([4.0**places, 2.0 ** (-power * places)], 1) / values[:, None]
        shares = _shares(laws)
        curve = np.stack([4.0**fine, 2.0 ** (-power * fine)], 1) @ shares
        fits.append((float(((laws @ shares - 1) ** 2).sum()), curve))
    _, curve = min(fits, key=lambda each: each[0])
    return float(fine[curve <= (1 + _ALIKE) * curve.min()].max())


def lowest_for_all(errors: Mapping[float, float], clipped: Clipped, most: float) -> float:
    """The same for all samples, with the clipping error that their histogram tells.

    Args:
        errors: as for `lowest`.
        clipped: places -> the mean squared clipping error on the samples that were measured, and on all.
        most: the last place: where the threshold is the largest magnitude.
    """
    places, values = _near(errors)
    fine = np.linspace(places[0], most, max(round(_FINE * (most - places[0])), 0) + 1)
    laws = np.stack([4.0**places, clipped(places)[0]], 1)
    curve = np.stack([4.0**fine, clipped(fine)[1]], 1) @ _shares(laws / values[:, None])
    return float(fine[curve <= (1 + _ALIKE) * curve.min()].max())


def _near(errors: Mapping[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Places around the lowest error, rising, and their errors."""
    best = min(errors, key=lambda place: (errors[place], -place))
    places = np.array(sorted(place for place in errors if abs(place - best) <= _REACH))
    return places, np.maximum([errors[place] for place in places], 1e-12 * max(errors.values()))


def _shares(laws: np.ndarray) -> np.ndarray:
    """How much of either law adds up to about 1, neither negative, by least squares.

    Args:
        laws: float64[places, 2], in units of the error that was measured.

    Returns:
        float64[2].
    """
    found = []
    for kept in ([0, 1], [0], [1]):
        share = np.zeros(2)
        share[kept] = np.linalg.lstsq(laws[:, kept], np.ones(len(laws)), rcond=None)[0]
        if (share >= 0).all():
            off = laws @ share - 1
            found.append((float(off @ off), share))
    return min(found, key=lambda each: each[0])[1]


def clipping_error(
    magnitudes: np.ndarray, thresholds: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """The sum of max(|x| - T, 0)^2 for each threshold T: float64[thresholds].

    Args:
        magnitudes: of the values, one axis.
        thresholds: one axis.
        counts: how often each magnitude occurs; None for once.
    """
    order = np.argsort(magnitudes, kind="stable")
    x = magnitudes[order].astype(np.float64)
    weight = np.ones(x.size) if counts is None else counts[order].astype(np.float64)
    # Sums from the largest down: what exceeds a threshold is the end of the sorted magnitudes.
    number, first, second = (np.append(np.cumsum((weight * x**k)[::-1])[::-1], 0.0) for k in range(3))
    at = np.searchsorted(x, thresholds, side="right")
    return np.asarray(np.maximum(second[at] - 2 * thresholds * first[at] + thresholds**2 * number[at], 0.0))
