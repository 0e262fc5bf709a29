"""How far the scales move while samples are collected, and when to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIRST_VERDICT", "Movement", "final_marks", "growing_marks", "moved"]

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


def moved(before: Mapping[str, float], after: Mapping[str, float], last: int, total: int) -> Movement:
    """The movement between the thresholds before the `last` of `total` samples and those after them."""
    changes = [(_change(before[name], new), name) for name, new in after.items()]
    most, tensor = max(changes, default=(0.0, ""))
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
