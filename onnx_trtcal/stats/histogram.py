"""The histogram of one tensor's magnitudes: what collection gathers and every method solves."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.options import Range
from onnx_trtcal.stats.arrays import as_counted
from onnx_trtcal.stats.bins import COARSE_BINS, Bins
from onnx_trtcal.stats.doubles import count_doubles

__all__ = ["COARSE_BINS", "Histogram"]


_RULES = get_args(Range)


class Histogram:
    """Counts of |x| in equal bins over [0, range], which doubles by adding neighbouring bins.

    Rule `stable`: 32768 bins, open below and closed above, over the smallest power of two that reaches
    amax (2**-126 at least). Doubling is exact, so the state depends on the values only, not on their order
    or on how they are split and merged. Values are counted as they are, float64 included.

    Rule `tensorrt`: 2048 bins over [0, largest magnitude of the first `add` that has a non-zero value],
    closed below, values beyond in the last bin; `range` doubles before a later `add` whose largest exceeds
    it. Values are counted as float32, as TensorRT does. Each `add` is one batch.

    Attributes:
        rule: the range rule.
        amax: the largest finite magnitude, exact; 0.0 while there is none.
        zeros, nan, inf: how many values are zero, NaN, +-Inf.
        total: how many values are finite, zeros among them.
        bins: where finite non-zero values are counted.
    """

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    def __init__(self, rule: Range = "stable") -> None:
        if rule not in _RULES:
            raise StatisticsError(f"{rule!r} is not a range rule", fix="use stable or tensorrt")
        self.rule: Range = rule
        self.amax = 0.0
        self.zeros = self.nan = self.inf = self.total = 0
        self.bins = Bins(rule)

    @property
    def width(self) -> float:
        """Of a bin, in units of x; 0.0 until a non-zero value is counted."""
        return self.bins.width

    @width.setter
    def width(self, width: float) -> None:
        self.bins.width = width

    @property
    def counts(self) -> np.ndarray:
        """int64[bins] of finite non-zero values, a copy; all zero while `width` is 0.0."""
        return self.bins.counts

    @counts.setter
    def counts(self, counts: np.ndarray) -> None:
        self.bins.store(counts)

    @property
    def range(self) -> float:
        """The upper edge of the last bin; 0.0 until a non-zero value is counted."""
        return self.bins.range

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._summary() == other._summary() and np.array_equal(self.counts, other.counts)

    def __repr__(self) -> str:
        return f"Histogram({self.rule}, total={self.total}, amax={self.amax!r}, zeros={self.zeros})"

    def _summary(self) -> tuple[object, ...]:
        return (self.rule, self.amax, self.zeros, self.nan, self.inf, self.total, self.width)

    def add(self, values: np.ndarray) -> None:
        """Counts an array of any shape and any float dtype, bfloat16 and float8 among them.

        Many arrays are counted faster at once, by a `Counter`.

        Raises:
            StatisticsError: when the array is not of floats.
        """
        values = as_counted(values, self.rule)
        if values.dtype == np.float64:
            self.note(*count_doubles(self.bins, values))
            return
        from onnx_trtcal.stats.bin_table import BinTable

        table = BinTable([self.bins])
        table.count(np.zeros(1, np.int64), [values])
        self.note(*table.settle()[0])

    def note(self, top: float, nan: int, inf: int, finite: int) -> None:
        """Takes in what was seen of values that the bins have counted.

        Args:
            top: the largest finite magnitude; 0.0 when there is none.
            nan: how many are NaN.
            inf: how many are +-Inf.
            finite: how many are finite, zeros among them.
        """
        self.amax = max(self.amax, top)
        self.nan += nan
        self.inf += inf
        if finite:
            self.total += finite
            self.zeros = self.total - self.bins.total()

    def reach(self, top: float) -> None:
        """Widens the range until it holds `top`, as the histogram's rule does, counting nothing."""
        self.bins.reach(top)

    def merge(self, other: Histogram) -> None:
        """Adds what `other` counted; `other` stays as it is.

        Raises:
            StatisticsError: when either follows the rule `tensorrt`, whose range depends on which batch
                came first, so that two of them have no common grid.
        """
        if "tensorrt" in (self.rule, other.rule):
            raise StatisticsError(
                "histograms of the range rule 'tensorrt' cannot be merged: the first batch sets the range",
                fix="collect with --range stable",
            )
        self.bins.add(other.bins)
        self.amax = max(self.amax, other.amax)
        self.zeros += other.zeros
        self.nan += other.nan
        self.inf += other.inf
        self.total += other.total

    def used(self) -> np.ndarray:
        """int64[bins]: the counts up to the bin of amax, the topmost that is not empty."""
        counts = self.counts
        occupied = np.flatnonzero(counts)
        return counts[: occupied[-1] + 1 if occupied.size else 0]

    def coarse(self) -> tuple[np.ndarray, float]:
        """What TensorRT's search sees: (int64[2048] with the zeros in bin 0, width of a bin).

        Under the rule `stable` each bin is the sum of m neighbours, m the smallest number that makes 2048
        bins reach amax. No bin is split, so the counts stay exact. The width is 0.0 when every value is
        zero.
        """
        if self.rule == "tensorrt":
            counts, width = self.counts, self.width
        else:
            used = math.ceil(self.amax / self.width) if self.width else 0
            times = max(1, -(-used // COARSE_BINS))
            counts = self.counts[: COARSE_BINS * times].reshape(COARSE_BINS, times).sum(axis=1)
            width = times * self.width
        counts[0] += self.zeros
        return counts, width
