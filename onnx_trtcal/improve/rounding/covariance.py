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
        sums: float64[groups, columns, columns], whole numbers below 2^53.
        rows: how many rows were added per group.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self.sums = np.zeros((groups, columns, columns))
        self.rows = 0

    def add(self, rows: np.ndarray) -> None:
        """Adds rows.

        Args:
            rows: float32[groups, rows, columns], whole numbers from -127 to 127.
        """
        self.rows += rows.shape[1]
        for start in range(0, rows.shape[1], _EXACT_ROWS):
            part = rows[:, start : start + _EXACT_ROWS]
            self.sums += part.transpose(0, 2, 1) @ part
