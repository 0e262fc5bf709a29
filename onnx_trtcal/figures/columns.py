"""The bins of a histogram, added up to as many columns as a picture has room for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Columns", "columns"]


@dataclass(frozen=True)
class Columns:
    """Counts over equal columns that begin at 0.

    Attributes:
        counts: of each column.
        end: the upper edge of the last column, in units of x; 0.0 where there is nothing to show.
    """

    counts: tuple[int, ...]
    end: float

    @property
    def heights(self) -> list[float]:
        """Each count on a logarithmic scale, as a share (0 to 1) of the largest: 0 for no value, more for one."""
        top = max(self.counts, default=0)
        return [log_share(count, top) for count in self.counts]


def columns(counts: np.ndarray, bin_width: float, end: float, most: int = 144) -> Columns:
    """Adds bins up to columns; each bin goes, whole, to the column that its centre is in.

    Args:
        counts: int[bins], over equal bins that begin at 0.
        bin_width: in units of x; 0.0 where nothing was counted.
        end: where the last column ends; bins behind it are added to the last column.
        most: how many columns.
    """
    counts = np.asarray(counts)
    if not (math.isfinite(end) and end > 0 and bin_width > 0):
        return Columns((0,) * most, 0.0)
    used = np.flatnonzero(counts)
    centres = (used + 0.5) * (bin_width / end)  # as a share, which cannot overflow
    at = np.minimum(centres * most, most - 1).astype(np.int64)
    sums = np.zeros(most, np.int64)
    np.add.at(sums, at, counts[used].astype(np.int64))
    return Columns(tuple(sums.tolist()), float(end))


def log_share(count: float, top: float) -> float:
    """A count's height on a logarithmic scale that begins at half a value and ends at `top`, 0 to 1."""
    return math.log(2 * count) / math.log(2 * top) if count >= 1 and top >= 1 else 0.0
