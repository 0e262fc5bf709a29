"""Counting in the host's memory, on its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.stats.arrays import as_counted
from onnx_trtcal.support.channel_blocks import ChannelBlocks
from onnx_trtcal.support.device_array import DeviceArray
from onnx_trtcal.support.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from onnx_trtcal.stats.bin_table import BinTable
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation

__all__ = ["HostCounter", "HostDevice"]

_USUAL = {np.dtype(np.float32)}


class HostCounter:
    """A `Counter` of arrays in the host's memory.

    What it does for each tensor of a batch is done by compiled code, or by Python's own loops in C: there may be
    thousands of tensors with few values.

    Args:
        histograms: observed tensor -> its histogram, all of one rule.
    """

    def __init__(self, histograms: Mapping[str, Histogram]) -> None:
        self._names = list(histograms)
        self._histograms = list(histograms.values())
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._every_row = np.arange(len(self._names))
        self._table: BinTable | None = None

    def add(self, arrays: Mapping[str, Activation], pool: Executor | None = None) -> list[str]:
        """Counts one batch, see `Counter.add`.

        Raises:
            StatisticsError: when an array is not of floats; nothing is counted then.
        """
        names, given = list(arrays), list(arrays.values())
        rows = self._every_row
        if names != self._names:
            rows = np.array([self._rows[name] for name in names], np.int64)
        if DeviceArray in set(map(type, given)):
            raise TypeError("an array on a device is counted by that device's counter, not by the host's")
        values = [each for each in given if not isinstance(each, DeviceArray)]
        odd: list[str] = []
        if {each.dtype for each in values} - _USUAL:
            rows, values, odd = self._add_doubles(rows, values)
        if len(values):
            odd += self._add(rows, values, pool)
        return odd

    def settle(self) -> None:
        """Brings the histograms up to date."""
        if self._table is not None:
            for histogram, seen in zip(self._histograms, self._table.settle(), strict=True):
                histogram.note(*seen)

    def download(self, array: Activation) -> np.ndarray:
        """The array itself, or a copy in the usual order of memory."""
        if isinstance(array, DeviceArray):
            raise TypeError("an array on a device is counted by that device's counter, not by the host's")
        return array.plain() if isinstance(array, ChannelBlocks) else array

    def _add(
        self, rows: np.ndarray, values: list[np.ndarray | ChannelBlocks], pool: Executor | None
    ) -> list[str]:
        if self._table is None:
            from onnx_trtcal.stats.bin_table import BinTable

            self._table = BinTable([histogram.bins for histogram in self._histograms])
        before = self._table.nonfinite
        self._table.count(rows, values, pool)
        return [self._names[row] for row in np.flatnonzero(self._table.nonfinite != before)]

    def _add_doubles(
        self, rows: np.ndarray, given: list[np.ndarray | ChannelBlocks]
    ) -> tuple[np.ndarray, list[np.ndarray | ChannelBlocks], list[str]]:
        """Counts float64 values; the rows and values that are left, and which of those counted had a NaN or Inf."""
        rule = self._histograms[0].rule
        values = [as_counted(each, rule) if isinstance(each, np.ndarray) else each for each in given]
        kept = [k for k, each in enumerate(values) if each.dtype != np.float64]
        odd = []
        if len(kept) < len(values):
            self.settle()
            for row, each in zip(rows.tolist(), values, strict=True):
                if each.dtype == np.float64:
                    histogram = self._histograms[row]
                    before = histogram.nan + histogram.inf
                    histogram.add(self.download(each))
                    if histogram.nan + histogram.inf > before:
                        odd.append(self._names[row])
        return rows[kept], [values[k] for k in kept], odd


class HostDevice:
    """The `CountingDevice` that every machine has."""

    memory = None

    def free_memory(self) -> int | None:
        """Bytes that can be had without swapping; None where the system does not say."""
        return available_memory()

    def counter(self, histograms: Mapping[str, Histogram]) -> HostCounter:
        """A counter into these histograms."""
        return HostCounter(histograms)
