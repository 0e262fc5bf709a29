"""Watches the scales settle while samples are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["FIRST_VERDICT", "Convergence", "Movement", "final_marks", "growing_marks"]

# Fewer samples than this say nothing about those to come, however still the scales stand.
FIRST_VERDICT = 64


@dataclass(frozen=True)
class Movement:
    """How far the scales moved over the last samples.

    Attributes:
        most: the largest relative change of a threshold, |new - old| / old.
        tensor: the observed tensor it happened to.
        last: over how many samples.
        total: out of how many.
    """

    most: float
    tensor: str
    last: int
    total: int


class Convergence:
    """Compares the thresholds of one look with those of the look before.

    Args:
        solve: gives the thresholds of what has been collected so far.
    """

    def __init__(self, solve: Callable[[], Mapping[str, float]]) -> None:
        self._solve = solve
        self._total = 0
        self._thresholds: Mapping[str, float] = {}

    def look(self, total: int) -> Movement | None:
        """Takes the thresholds after `total` samples; None at the first look."""
        before, self._thresholds = self._thresholds, self._solve()
        last, self._total = total - self._total, total
        if not before:
            return None
        moved = [(_change(before[name], new), name) for name, new in self._thresholds.items()]
        most, tensor = max(moved, default=(0.0, ""))
        return Movement(most, tensor, last, total)


def final_marks(total: int) -> frozenset[int]:
    """The sample counts that enclose the last quarter of `total` samples; none when they are too few to tell."""
    return frozenset({total * 3 // 4, total}) if total >= FIRST_VERDICT else frozenset()


def growing_marks() -> frozenset[int]:
    """Sample counts each a third larger than the one before: the first verdict falls at 64."""
    found = [FIRST_VERDICT * 3 // 4, FIRST_VERDICT]
    while found[-1] < 1 << 40:
        found.append(-(-found[-1] * 4 // 3))
    return frozenset(found)


def _change(old: float, new: float) -> float:
    if old == new:
        return 0.0
    return abs(new - old) / old if old > 0 else float("inf")
