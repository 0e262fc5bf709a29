"""The lowest point of an error over a threshold: rounding error on one side, clipping error on the other.

It is walked down in half octaves, and a parabola through the lowest point and its neighbours gives the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["lowest", "walk_down"]

_STEP = 0.5
_LEAST = -3.5
# A threshold this close to the largest magnitude need not be told from it.
_NEAR = 0.1
# Unseen samples reach further than those at hand: of thresholds whose errors differ by less than a twentieth,
# the larger one is safer.
_ALIKE = 0.05
_FINE = 16  # places in an octave


def walk_down(errors: Callable[[Sequence[float]], Iterable[float]], most: float) -> dict[float, float]:
    """Measures thresholds until the lowest of them has neighbours on both sides, or is at an end.

    Args:
        errors: the error at some places, which are octaves above the threshold to start from, or below it.
        most: the last place: where the threshold is the largest magnitude.

    Returns:
        Place -> error, both as they were measured.
    """
    found: dict[float, float] = {}

    def measure(*places: float) -> None:
        found.update(zip(places, map(float, errors(places)), strict=True))

    above = _above(0.0, most)
    measure(0.0, -_STEP, *above)
    while True:
        best = min(found, key=lambda place: (found[place], -place))
        if best == min(found) and best - _STEP >= _LEAST:
            measure(best - _STEP)
        elif best == max(found) and _above(best, most):
            measure(*_above(best, most))
        else:
            return found


def _above(place: float, most: float) -> tuple[float, ...]:
    """The next place: half an octave up, or the last one where that is not much further."""
    if most - place <= _NEAR:
        return ()
    return (most,) if most - place <= _STEP + _NEAR else (place + _STEP,)


def lowest(errors: Mapping[float, float]) -> float:
    """The largest place whose error is about the least: within a twentieth.

    Args:
        errors: place in octaves -> error, at least one.
    """
    places = sorted(errors)
    values = np.array([errors[place] for place in places])
    if values.max() <= 0:
        return places[-1]
    logs = np.log(np.maximum(values, 1e-12 * values.max()))
    at = int(np.argmin(logs))
    alike = [place for place, value in zip(places, logs, strict=True) if value <= logs[at] + _ALIKE]
    if not 0 < at < len(places) - 1:
        return max(alike)
    near = slice(at - 1, at + 2)
    curve = np.polynomial.Polynomial.fit(places[near], logs[near], 2)
    fine = np.linspace(places[at - 1], places[at + 1], round(_FINE * (places[at + 1] - places[at - 1])) + 1)
    heights = curve(fine)
    return float(fine[heights <= heights.min() + _ALIKE].max())
