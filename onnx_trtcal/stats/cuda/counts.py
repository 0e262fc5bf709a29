"""Histograms whose bins are counted on a device and fetched when somebody wants to see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnx_trtcal.stats.cuda import fields
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.parallel import add_all

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.device import DeviceArray

__all__ = ["DeviceCounts"]

LARGEST = 0x7F7FFFFF  # bit pattern of the largest finite float32
FULL = (1 << 32) - 1  # what a counter on the device holds


class _Task(NamedTuple):
    """A tensor to count: its magnitudes above `low` up to `high`, both bit patterns of float32."""

    name: str
    array: DeviceArray
    low: int
    high: int


class DeviceCounts:
    """Counts device arrays into histograms; the result equals `Histogram.add` bit for bit.

    Everything but `counts` is up to date in the histograms after each `add`; `counts` is after `settle`. A
    histogram's bins on the device always have its own width: before it widens, they are added to it.

    Args:
        gpu: the device.
        histograms: tensor -> its histogram, all of one rule; they keep one uint32 per bin on the device.
    """

    def __init__(self, gpu: Gpu, histograms: Mapping[str, Histogram]) -> None:
        self._gpu = gpu
        self._histograms = histograms
        self._rows = {name: row for row, name in enumerate(histograms)}
        self._pending = [0] * len(histograms)  # values counted on the device and not settled, at most
        first = next(iter(histograms.values()))
        self._bins = first.counts.size
        self._stable = first.rule == "stable"
        self._counts = gpu.zeros(self._bins * len(histograms))

    def add(self, arrays: Mapping[str, DeviceArray], pool: Executor | None = None) -> None:
        """Counts one batch; the arrays' memory is not read any more when this returns.

        float64 values, and arrays of more values than a counter holds, are copied to the host and counted
        there, with the threads of `pool`.
        """
        tasks = []
        for name, array in arrays.items():
            histogram = self._histograms[name]
            if array.dtype.name not in fields.KINDS or array.size > FULL:
                self._settle_row(name)  # counting on the host may widen the bins
                add_all([histogram], [self.download(array)], pool)
            elif array.size:
                tasks.append(_Task(name, array, 0, self._held_by(histogram)))
        if tasks:
            self._add(tasks)

    def settle(self) -> None:
        """Adds the counts on the device to the histograms."""
        if not any(self._pending):
            return
        counts = self._gpu.fetch(self._counts).reshape(-1, self._bins)
        for histogram, row in zip(self._histograms.values(), counts, strict=True):
            histogram.counts += row
        self._pending = [0] * len(self._pending)

    def download(self, array: DeviceArray) -> np.ndarray:
        """A copy of a device array in the host's memory."""
        return self._gpu.download(array)

    def _held_by(self, histogram: Histogram) -> int:
        """Up to which magnitude the bins are known to hold a batch that nobody has looked at."""
        # TensorRT's rule sets the range by the whole batch before it counts: the first launch only looks.
        return _bits_of(histogram.range) if self._stable else 0

    def _add(self, tasks: Sequence[_Task]) -> None:
        if any(self._pending[self._rows[task.name]] + task.array.size > FULL for task in tasks):
            self.settle()
        state = self._launch(tasks)
        rest = []
        for task, (top, zeros, nan, inf) in zip(
            tasks, state[:, (fields.TOP, fields.ZEROS, fields.NAN, fields.INF)].tolist(), strict=True
        ):
            histogram = self._histograms[task.name]
            largest = float(np.uint32(top).view(np.float32))
            histogram.zeros += zeros
            histogram.nan += nan
            histogram.inf += inf
            histogram.total += task.array.size - nan - inf
            histogram.amax = max(histogram.amax, largest)
            if task.high:
                self._pending[self._rows[task.name]] += task.array.size
            if largest > histogram.range:
                self._settle_row(task.name)
                histogram.reach(largest)
            if top > task.high:
                # Values that the bins did not reach to; the others keep their place when bins are doubled.
                rest.append(task._replace(low=task.high, high=LARGEST))
                self._pending[self._rows[task.name]] += task.array.size
        if rest:
            self._launch(rest)

    def _launch(self, tasks: Sequence[_Task]) -> np.ndarray:
        span = self._gpu.layout.span
        table = np.zeros((8, len(tasks)), np.int64)
        factors = np.zeros((2, len(tasks)), np.float32)
        blocks = 0
        for i, task in enumerate(tasks):
            histogram = self._histograms[task.name]
            table[fields.ADDRESS, i], table[fields.SIZE, i] = task.array.address, task.array.size
            table[fields.FIRST, i], table[fields.KIND, i] = blocks, fields.KINDS[task.array.dtype.name]
            table[fields.ROW, i] = self._rows[task.name]
            table[fields.LOW, i], table[fields.HIGH, i] = task.low, task.high
            # Operators that saturate put many values on one magnitude, the largest: counting it apart spares
            # the device thousands of additions to the same place.
            table[fields.PEAK, i] = _bits_of(histogram.amax)
            factors[fields.UP, i], factors[fields.BY, i] = _factors(histogram.width or 1.0, self._stable)
            blocks += -(-task.array.size // span)
        return self._gpu.count(table, factors, self._stable, self._bins - 1, blocks, self._counts)

    def _settle_row(self, name: str) -> None:
        row = self._rows[name]
        if self._pending[row]:
            mine = self._counts[row * self._bins : (row + 1) * self._bins]
            self._histograms[name].counts += self._gpu.fetch(mine)
            self._pending[row] = 0


def _bits_of(value: float) -> int:
    """The bit pattern of a float32, the largest finite one for more."""
    return LARGEST if value >= 2.0**128 else int(np.float32(value).view(np.uint32))


def _factors(width: float, stable: bool) -> tuple[float, float]:
    """(UP, BY) for a width: both, and what a kernel makes with them, stay among float32's normal numbers."""
    up = 2.0**64 if width < 2.0**-79 else 1.0
    # Bins that float64 values made wider than float32 reaches hold every float32 in the first.
    down = width * up if width < 2.0**128 else math.inf
    return up, 1 / down if stable else down
