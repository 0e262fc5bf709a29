"""The histogram of one tensor's magnitudes: what collection gathers and every method solves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import numpy as np

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.options import Range

if TYPE_CHECKING:
    from onnx_trtcal.stats.sweep import Bits

__all__ = ["COARSE_BINS", "Histogram", "as_counted"]

COARSE_BINS = 2048  # bins of TensorRT's search
STABLE_BINS = 32768
LEAST_EXPONENT = -126  # of the stable range: float32's smallest normal number; subnormals fall in low bins
PIECE = 1 << 16  # float64 values counted at a time


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
        width: of a bin, in units of x; 0.0 until a non-zero value is counted.
        counts: int64[bins] of finite non-zero values; all zero while `width` is 0.0.
    """

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    def __init__(self, rule: Range = "stable") -> None:
        if rule not in get_args(Range):
            raise StatisticsError(f"{rule!r} is not a range rule", fix="use stable or tensorrt")
        self.rule: Range = rule
        self.amax = 0.0
        self.zeros = self.nan = self.inf = self.total = 0
        self.width = 0.0
        self.counts = np.zeros(STABLE_BINS if rule == "stable" else COARSE_BINS, np.int64)

    @property
    def range(self) -> float:
        """The upper edge of the last bin; 0.0 until a non-zero value is counted."""
        return self.width * self.counts.size

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

        Raises:
            StatisticsError: when the array is not of floats.
        """
        from onnx_trtcal.stats.sweep import bits_of, largest

        values = as_counted(values, self.rule)
        if values.dtype == np.float64:
            self._count_doubles(values)
            return
        bits = bits_of(values)
        if self.rule == "tensorrt":
            self.reach(largest(bits))
        self.count(bits)

    def reach(self, top: float) -> None:
        """Widens the range until it holds `top`, as the histogram's rule does, counting nothing."""
        if top <= self.range:
            return
        if self.rule == "stable":
            self.widen(_stable_width(top))
        elif self.width == 0.0:
            self.width = top / COARSE_BINS
        else:
            width = self.width
            while top > width * COARSE_BINS:
                width *= 2
            self.widen(width)

    def count(self, bits: Bits) -> None:
        """Counts bit patterns; under the rule `tensorrt` after `reach` has been called with the batch's largest."""
        from onnx_trtcal.stats.sweep import Sweep

        stable = self.rule == "stable"
        sweep = Sweep(bits)
        while not sweep.done:
            # Usually one step: the range that held the batches before holds this one. Otherwise the sweep
            # stops at the block that does not fit, and resumes in wider bins: doubling is exact.
            sweep.advance(
                self.counts, self.width or 1.0, closed_above=stable, limit=self.range if stable else None
            )
            if not sweep.done:
                self.reach(sweep.top)
        self.amax = max(self.amax, sweep.top)
        self.zeros += sweep.zeros
        self.nan += sweep.nan
        self.inf += sweep.inf
        self.total += bits.values.size - sweep.nan - sweep.inf

    def _count_doubles(self, values: np.ndarray) -> None:
        flat = values.ravel(order="K")
        for begin in range(0, flat.size, PIECE):
            piece = np.abs(flat[begin : begin + PIECE])
            finite = piece[np.isfinite(piece)]
            positive = finite[finite > 0]
            nan = int(np.isnan(piece).sum())
            self.nan += nan
            self.inf += piece.size - finite.size - nan
            self.total += finite.size
            self.zeros += finite.size - positive.size
            if positive.size:
                self.amax = max(self.amax, float(positive.max()))
                self.reach(self.amax)
                # A quotient that underflows to zero still belongs to the first bin.
                bins = np.maximum(np.ceil(positive / self.width).astype(np.int64) - 1, 0)
                self.counts += np.bincount(bins, minlength=STABLE_BINS)

    def widen(self, width: float) -> None:
        """Makes bins at least `width` wide, a power of two times as wide as now, by adding neighbours."""
        if width <= self.width:
            return
        steps = math.frexp(width)[1] - math.frexp(self.width)[1] if self.width else 0
        half = self.counts.size // 2
        # After as many steps as bins have bits everything is in the first bin, and stays there.
        for _ in range(min(steps, half.bit_length())):
            self.counts[:half] = self.counts[0::2] + self.counts[1::2]
            self.counts[half:] = 0
        self.width = width

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
        self.widen(other.width)
        counts = other.counts
        if other.width and other.width != self.width:
            copy = Histogram("stable")
            copy.width, copy.counts = other.width, counts.copy()
            copy.widen(self.width)
            counts = copy.counts
        self.counts += counts
        self.amax = max(self.amax, other.amax)
        self.zeros += other.zeros
        self.nan += other.nan
        self.inf += other.inf
        self.total += other.total

    def used(self) -> np.ndarray:
        """int64[bins]: the counts up to the bin of amax, the topmost that is not empty."""
        occupied = np.flatnonzero(self.counts)
        return np.ascontiguousarray(self.counts[: occupied[-1] + 1 if occupied.size else 0], dtype=np.int64)

    def coarse(self) -> tuple[np.ndarray, float]:
        """What TensorRT's search sees: (int64[2048] with the zeros in bin 0, width of a bin).

        Under the rule `stable` each bin is the sum of m neighbours, m the smallest number that makes 2048
        bins reach amax. No bin is split, so the counts stay exact. The width is 0.0 when every value is
        zero.
        """
        if self.rule == "tensorrt":
            counts, width = self.counts.copy(), self.width
        else:
            used = math.ceil(self.amax / self.width) if self.width else 0
            times = max(1, -(-used // COARSE_BINS))
            counts = self.counts[: COARSE_BINS * times].reshape(COARSE_BINS, times).sum(axis=1)
            width = times * self.width
        counts[0] += self.zeros
        return counts, width


def as_counted(values: np.ndarray, rule: Range) -> np.ndarray:
    """The array in a dtype that is counted: float32, float16, bfloat16, and float64 under `stable`.

    Raises:
        StatisticsError: when the array is not of floats.
    """
    if values.dtype == np.float32:  # in native byte order
        return values
    name = values.dtype.name
    if not name.startswith(("float", "bfloat", "longdouble")):
        raise StatisticsError(f"values of type {name} are not counted", fix="observe float tensors only")
    if name in ("float16", "bfloat16") and values.dtype.isnative:
        return values
    if values.dtype.itemsize < 8:
        return values.astype(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float64 if rule == "stable" else np.float32)


def _stable_width(top: float) -> float:
    """The width of a bin when the range is the smallest power of two that reaches `top`."""
    mantissa, exponent = math.frexp(top)  # top = mantissa * 2**exponent, 0.5 <= mantissa < 1
    if mantissa == 0.5:
        exponent -= 1
    return math.ldexp(1.0, max(exponent, LEAST_EXPONENT)) / STABLE_BINS if exponent < 1024 else 2.0**1009
