"""X'X of the integers that a layer reads, added up without any rounding.

Products of INT8 values are whole numbers, and so are their sums: as long as float64 holds them exactly, they are the
same in whatever order they are added, by any number of threads, in any batches.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Covariance"]

# 1024 products of up to 127 * 127 add up to less than 2^24: float32, which is twice as fast, holds every such sum.
_EXACT_ROWS = 1024


class Covariance:
    """X'X of rows of integers, per group of a convolution.

    Args:
        groups: of the layer.
        columns: integers per row.

    Attributes:
        rows: how many rows were added per group.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self._sums = np.zeros((groups, columns, columns))
        self._waiting: list[np.ndarray] = []
        self.rows = 0

    def add(self, rows: np.ndarray) -> None:
        """Adds rows; they may wait for others, since one large product costs less than several small ones.

        Args:
            rows: float32[groups, rows, columns], whole numbers from -127 to 127.
        """
        self.rows += rows.shape[1]
        self._waiting.append(rows)
        if sum(each.shape[1] for each in self._waiting) >= _EXACT_ROWS:
            self._multiply()

    @property
    def sums(self) -> np.ndarray:
        """float64[groups, columns, columns], whole numbers below 2^53."""
        self._multiply()
        return self._sums

    def _multiply(self) -> None:
        if not self._waiting:
            return
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting, axis=1)
        self._waiting.clear()
        for start in range(0, rows.shape[1], _EXACT_ROWS):
            part = rows[:, start : start + _EXACT_ROWS]
            self._sums += part.transpose(0, 2, 1) @ part
