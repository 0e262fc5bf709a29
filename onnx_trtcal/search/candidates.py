"""The candidates of EasyQuant, and the best of them without trying all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UNCHANGED", "Measure", "best_places", "factors"]

_ALPHA, _BETA, _CANDIDATES = 0.5, 2.0, 100
_EVERY = 11  # the first of a few candidates lie so far apart; the first and the last are among them
# Where to look around the best of them, step by step, and around a place that was found before.
_CLOSER = ((-5, 5), (-2, 2), (-1, 1))
_NEAR, _NEAR_OF_ALL = 1, 4

Measure = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Places, int[tried, channels], to (similarity, what decides between equal ones: the least), float64 of that shape."""


def factors() -> np.ndarray:
    """What 127 / max|x| is multiplied by: float64[100], rising from 0.5 to 2, 1 among them."""
    return np.linspace(_ALPHA, _BETA, _CANDIDATES)


UNCHANGED = int(np.argmin(np.abs(factors() - 1)))
"""The place of factor 1."""


def best_places(
    measure: Measure, current: np.ndarray, same: float, *, near: bool, thorough: bool
) -> np.ndarray:
    """The candidate of the greatest similarity, for every channel.

    Similarity rises and falls with the factor but for some noise, so that every eleventh candidate shows where to look.

    Args:
        measure: measures candidates.
        current: int[channels], the places there are; a channel that nothing tells apart keeps its own.
        same: similarities that differ by less are equal.
        near: look only next to the current ones.
        thorough: try all of the hundred, or of those that are near.

    Returns:
        int[channels].
    """
    if near:
        reach = _NEAR_OF_ALL if thorough else _NEAR
        return _narrow(measure, current + np.arange(-reach, reach + 1)[:, None], (), current, same)
    every = np.arange(0, _CANDIDATES, 1 if thorough else _EVERY)[:, None]
    first = np.broadcast_to(every, (len(every), current.size))
    return _narrow(measure, first, () if thorough else _CLOSER, current, same)


def _narrow(
    measure: Measure,
    first: np.ndarray,
    closer: Sequence[Sequence[int]],
    current: np.ndarray,
    same: float,
) -> np.ndarray:
    places = np.clip(first, 0, _CANDIDATES - 1)
    similarity, decides = measure(places)
    best = _best(places, similarity, decides, same)
    for offsets in closer:
        more = np.clip(best + np.array(offsets)[:, None], 0, _CANDIDATES - 1)
        found = measure(more)
        places = np.concatenate([places, more])
        similarity, decides = (
            np.concatenate(pair) for pair in zip((similarity, decides), found, strict=True)
        )
        best = _best(places, similarity, decides, same)
    told = np.ptp(similarity, axis=0) > 0
    return np.where(told, best, current)


def _best(places: np.ndarray, similarity: np.ndarray, decides: np.ndarray, same: float) -> np.ndarray:
    alike = similarity >= similarity.max(axis=0) - same
    at = np.argmin(np.where(alike, decides, np.inf), axis=0)
    return np.asarray(np.take_along_axis(places, at[None], axis=0)[0])
