"""Counting into bins on a CUDA device, which are fetched when the histograms are read."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnx_trtcal.stats.cuda import fields
from onnx_trtcal.stats.host import HostCounter
from onnx_trtcal.support.channel_blocks import ChannelBlocks
from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation

__all__ = ["CudaCounter"]

LARGEST = 0x7F7FFFFF  # bit pattern of the largest finite float32
FULL = (1 << 32) - 1  # what a uint32 bin on the device holds


class _Task(NamedTuple):
    """A tensor to count: its magnitudes above `low` up to `high`, both bit patterns of float32."""

    row: int
    histogram: Histogram
    address: int
    size: int
    kind: int
    low: int
    high: int


class CudaCounter:
    """A `Counter` of device arrays; the result equals `Histogram.add` bit for bit.

    A histogram's bins on the device always have its own width: before it widens, they are added to it.

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

    def add(self, arrays: Mapping[str, Activation], pool: Executor | None = None) -> list[str]:
        """Counts one batch, see `Counter.add`.

        Arrays of the host are counted there, with the threads of `pool`; so are float64 values, and arrays of
        more values than a bin on the device holds, which are copied.

        Raises:
            StatisticsError: when an array is not of floats; nothing is counted then.
        """
        on_host = {name: array for name, array in arrays.items() if not isinstance(array, DeviceArray)}
        odd = self._add_on_host(on_host, pool)
        # TensorRT's rule sets the range by the whole batch before it counts: the first launch only looks.
        held = _bits_of([histogram.range if self._stable else 0.0 for histogram in self._histograms.values()])
        tasks = []
        for name, array in arrays.items():
            if not isinstance(array, DeviceArray):
                continue
            row, kind = self._rows[name], _kind_of(array.dtype)
            if kind is None or array.size > FULL:
                odd += self._add_on_host({name: self.download(array)}, pool)
            elif array.size:
                histogram = self._histograms[name]
                tasks.append(_Task(row, histogram, array.address, array.size, kind, 0, int(held[row])))
        return odd + self._add(tasks) if tasks else odd

    def settle(self) -> None:
        """Adds the counts on the device to the histograms."""
        if not any(self._pending):
            return
        counts = self._gpu.fetch(self._counts).reshape(-1, self._bins)
        for histogram, row in zip(self._histograms.values(), counts, strict=True):
            histogram.counts += row
        self._pending = [0] * len(self._pending)

    def download(self, array: Activation) -> np.ndarray:
        """The array in the host's memory: itself where it is there already, else a copy."""
        if isinstance(array, DeviceArray):
            return self._gpu.download(array)
        return array.plain() if isinstance(array, ChannelBlocks) else array

    def _add_on_host(self, arrays: Mapping[str, Activation], pool: Executor | None) -> list[str]:
        histograms = {name: self._histograms[name] for name in arrays}
        for name, histogram in histograms.items():
            self._settle_row(self._rows[name], histogram)  # counting on the host may widen the bins
        counter = HostCounter(histograms)
        odd = counter.add(arrays, pool)
        counter.settle()
        return odd

    def _add(self, tasks: Sequence[_Task]) -> list[str]:
        if any(self._pending[task.row] + task.size > FULL for task in tasks):
            self.settle()
        state = self._launch(tasks)
        largest = state[:, fields.TOP].astype(np.uint32).view(np.float32).tolist()
        rest = []
        for task, top, (bits, zeros, nan, inf) in zip(tasks, largest, state.tolist(), strict=True):
            histogram = task.histogram
            histogram.zeros += zeros
            histogram.nan += nan
            histogram.inf += inf
            histogram.total += task.size - nan - inf
            histogram.amax = max(histogram.amax, top)
            if task.high:
                self._pending[task.row] += task.size
            if bits > task.high:
                # The bins did not reach to these values; the others keep their place when bins are doubled.
                if top > histogram.range:
                    self._settle_row(task.row, histogram)
                    histogram.reach(top)
                rest.append(task._replace(low=task.high, high=LARGEST))
                self._pending[task.row] += task.size
        if rest:
            self._launch(rest)
        names = list(self._histograms)
        seen = zip(tasks, state.tolist(), strict=True)
        return [names[task.row] for task, (_, _, nan, inf) in seen if nan or inf]

    def _launch(self, tasks: Sequence[_Task]) -> np.ndarray:
        """The kernel's state over the tasks."""
        rows, histograms, addresses, sizes, kinds, lows, highs = zip(*tasks, strict=True)
        blocks = -(-np.array(sizes) // self._gpu.layout.span)
        table = np.empty((8, len(tasks)), np.int64)
        table[fields.ADDRESS], table[fields.SIZE], table[fields.KIND] = addresses, sizes, kinds
        table[fields.FIRST] = np.cumsum(blocks) - blocks
        table[fields.ROW], table[fields.LOW], table[fields.HIGH] = rows, lows, highs
        # Operators that saturate put many values on one magnitude, the largest: counting it separately spares
        # the device thousands of additions to the same place.
        table[fields.PEAK] = _bits_of([histogram.amax for histogram in histograms])
        factors = _factors([histogram.width or 1.0 for histogram in histograms], stable=self._stable)
        return self._gpu.count(
            table,
            factors,
            self._counts,
            closed_above=self._stable,
            last=self._bins - 1,
            blocks=int(blocks.sum()),
        )

    def _settle_row(self, row: int, histogram: Histogram) -> None:
        if self._pending[row]:
            mine = self._counts[row * self._bins : (row + 1) * self._bins]
            histogram.counts += self._gpu.fetch(mine)
            self._pending[row] = 0


@functools.cache
def _kind_of(dtype: np.dtype) -> int | None:
    """The kernel's number for a dtype; None for one that it does not count."""
    return fields.KINDS.get(dtype.name)


def _bits_of(values: Sequence[float]) -> np.ndarray:
    """Bit patterns of float32, that of the largest finite one for more."""
    with np.errstate(over="ignore"):
        return np.minimum(np.array(values).astype(np.float32).view(np.uint32), LARGEST)


def _factors(widths: Sequence[float], *, stable: bool) -> np.ndarray:
    """Rows UP and BY for widths: both, and what a kernel makes with them, stay among normal numbers."""
    width = np.array(widths)
    up = np.where(width < 2.0**-79, 2.0**64, 1.0)
    # Bins that float64 values made wider than float32 reaches hold every float32 in the first.
    down = np.where(width < 2.0**128, width * up, np.inf)
    factors = np.empty((2, width.size), np.float32)
    factors[fields.UP], factors[fields.BY] = up, 1 / down if stable else down
    return factors
