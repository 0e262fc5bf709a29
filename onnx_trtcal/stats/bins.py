"""Counters of equal bins, as few of them and as narrow as the values counted allow."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.stats.rows import COUNTERS, LARGEST, ZEROS

if TYPE_CHECKING:
    from onnx_trtcal.options import Range

__all__ = ["COARSE_BINS", "STABLE_BINS", "Bins"]

COARSE_BINS = 2048  # bins of TensorRT's search
STABLE_BINS = 32768
LEAST_EXPONENT = -126  # of the stable range: float32's smallest normal number; subnormals fall in low bins
GRAIN = 1024  # counters are made in so many at a time; even, so that neighbours can be added
MAPPED = 1 << 15  # bytes of counters from which they have pages of their own

_NARROWEST, _WIDEST = COUNTERS[0], COUNTERS[-1]


class Bins:
    """Counts over [0, range], which doubles by adding neighbouring bins; `stats.histogram` has the two range rules.

    Counters are there up to the largest magnitude only. They are uint8 at first, which takes most tensors of a few
    thousand values a batch a long way, then uint16 and uint32, and are added to int64 when those are full.

    Args:
        rule: the range rule.
        brief: whether they are soon gone: bins that stay take no memory for pages of counters that nothing is counted
            in, which costs them time at first.

    Attributes:
        rule: as given.
        size: how many bins the range has.
        width: of a bin, in units of x; 0.0 until a value is counted.
        cells: of `rows.COUNTERS`: `ZEROS` counters that are of no account, then one for each bin reached so far.
        room: values that can be counted before a counter might be full; 0 where they are uint8, which who counts
            looks after.
    """

    def __init__(self, rule: Range, *, brief: bool = False) -> None:
        self.rule = rule
        self.size = STABLE_BINS if rule == "stable" else COARSE_BINS
        self.width = 0.0
        self._brief = brief
        self.clear()

    def clear(self) -> None:
        """Forgets all counts, and keeps the width."""
        self.cells = np.zeros(ZEROS, _NARROWEST)
        self.room = 0
        self._beyond: np.ndarray | None = None  # int64[size], what no counter holds any more

    @property
    def range(self) -> float:
        """The upper edge of the last bin."""
        return self.width * self.size

    @property
    def limit(self) -> float:
        """The largest magnitude that there are counters for."""
        return self.width * (self.cells.size - ZEROS)

    def reach(self, top: float) -> None:
        """Widens the range until it holds `top`, as the rule does, and makes counters up to there."""
        if top > self.range:
            if self.rule == "stable":
                self.widen(_stable_width(top))
            elif self.width == 0.0:
                self.width = top / COARSE_BINS
            else:
                width = self.width
                while top > width * COARSE_BINS:
                    width *= 2
                self.widen(width)
        if self.width:
            self._extend(math.ceil(top / self.width) if self.rule == "stable" else self.size)

    def widen(self, width: float) -> None:
        """Makes bins at least `width` wide, a power of two times as wide as now, by adding neighbours."""
        if width <= self.width:
            return
        steps = math.frexp(width)[1] - math.frexp(self.width)[1] if self.width else 0
        self.width = width
        # After as many steps as bins have bits everything is in the first bin, and stays there.
        steps = min(steps, self.size.bit_length() - 1)
        if steps and self.cells.size > ZEROS:
            self.store(_sums(self.counts, steps), self.cells.dtype)

    def make_room(self) -> None:
        """Has counters that may be full hold more."""
        if self.cells.dtype != _WIDEST:
            self.make_wider(COUNTERS[COUNTERS.index(self.cells.dtype) + 1])
            return
        if self._beyond is None:
            self._beyond = np.zeros(self.size, np.int64)
        self._beyond[: self.cells.size - ZEROS] += self.cells[ZEROS:]
        self.cells[:] = 0
        self.room = LARGEST[_WIDEST]

    def make_wider(self, least: np.dtype) -> None:
        """Has counters be of this kind at least."""
        if self.cells.dtype < least:
            self._resize(self.cells.size, least)
            self._find_room()

    @property
    def counts(self) -> np.ndarray:
        """int64[size]: a copy of the counts."""
        counts = np.zeros(self.size, np.int64) if self._beyond is None else self._beyond.copy()
        counts[: self.cells.size - ZEROS] += self.cells[ZEROS:]
        return counts

    def total(self) -> int:
        """The sum of the counts."""
        beyond = 0 if self._beyond is None else int(self._beyond.sum())
        return beyond + int(self.cells[ZEROS:].sum(dtype=np.int64))

    def store(self, counts: np.ndarray, least: np.dtype = _NARROWEST) -> None:
        """Replaces the counts.

        Args:
            counts: int64[size].
            least: the narrowest counters to keep them in.
        """
        self.clear()
        used = np.flatnonzero(counts)
        fitting = _narrowest_for(int(counts.max()))
        if fitting is None:
            self._beyond, counts = counts.astype(np.int64), np.zeros_like(counts)
            fitting = _WIDEST
        self.cells = self.cells.astype(max(fitting, least))
        self._extend(int(used[-1]) + 1 if used.size else 0)
        self.cells[ZEROS + used] = counts[used]
        self._find_room()

    def add(self, other: Bins) -> None:
        """Adds the counts of other bins of the rule `stable`, which stay as they are."""
        self.widen(other.width)
        steps = math.frexp(self.width)[1] - math.frexp(other.width)[1] if other.width else 0
        theirs = other.cells[ZEROS:]
        if not steps and self._beyond is None and other._beyond is None:
            if self.cells.size == ZEROS:
                self._resize(other.cells.size, other.cells.dtype)
                _copy_used(other.cells, self.cells)
                self._find_room()
                return
            self.make_wider(other.cells.dtype)
            self._extend(theirs.size)
            sums = np.add(self.cells[ZEROS : ZEROS + theirs.size], theirs, dtype=np.int64)
            fitting = _narrowest_for(int(sums.max(initial=0)))
            if fitting is not None:
                self.make_wider(fitting)
                self.cells[ZEROS : ZEROS + theirs.size] = sums
                self._find_room()
                return
        counts = _sums(other.counts, min(steps, self.size.bit_length() - 1))
        self.store(self.counts + counts, self.cells.dtype)

    def _extend(self, bins: int) -> None:
        """Makes counters for at least so many bins."""
        wanted = ZEROS + min(-(-bins // GRAIN) * GRAIN, self.size)
        if wanted > self.cells.size:
            self._resize(wanted, self.cells.dtype)

    def _resize(self, size: int, dtype: np.dtype) -> None:
        """Makes so many counters of a kind, the first of them those that there are."""
        cells = np.zeros(size, dtype) if self._brief else _zeros(size, dtype)
        _copy_used(self.cells, cells)
        self.cells = cells

    def _find_room(self) -> None:
        narrowest = self.cells.dtype == _NARROWEST
        self.room = 0 if narrowest else LARGEST[self.cells.dtype] - int(self.cells[ZEROS:].max(initial=0))


def _narrowest_for(most: int) -> np.dtype | None:
    """The narrowest counters that have room for as much again; None where none has."""
    return next((dtype for dtype in COUNTERS if most <= LARGEST[dtype] // 2), None)


def _zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """Counters of which pages that are not written to take no memory: the heap may give what was in use before."""
    nbytes = size * dtype.itemsize
    if nbytes < MAPPED or sys.platform == "win32":
        return np.zeros(size, dtype)
    return np.frombuffer(mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype)


def _copy_used(source: np.ndarray, target: np.ndarray) -> None:
    """Copies counters into ones that are all 0, of which pages that stay so are not written to."""
    if target.nbytes < MAPPED or source.size == ZEROS:
        target[: source.size] = source
        return
    most = np.maximum.reduceat(source, np.arange(0, source.size, GRAIN))
    for begin in (np.flatnonzero(most) * GRAIN).tolist():
        some = source[begin : begin + GRAIN]
        target[begin : begin + some.size] = some


def _sums(counts: np.ndarray, steps: int) -> np.ndarray:
    """The counts with neighbours added so many times: int64[size], empty at the end."""
    if not steps:
        return counts
    sums = np.zeros_like(counts)
    sums[: counts.size >> steps] = counts.reshape(-1, 1 << steps).sum(axis=1)
    return sums


def _stable_width(top: float) -> float:
    """The width of a bin when the range is the smallest power of two that reaches `top`."""
    mantissa, exponent = math.frexp(top)  # top = mantissa * 2**exponent, 0.5 <= mantissa < 1
    if mantissa == 0.5:
        exponent -= 1
    return math.ldexp(1.0, max(exponent, LEAST_EXPONENT)) / STABLE_BINS if exponent < 1024 else 2.0**1009
