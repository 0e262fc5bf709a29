"""Counting in the host's memory, on its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.stats.parallel import add_all
from onnx_trtcal.support.device_array import DeviceArray
from onnx_trtcal.support.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    import numpy as np

    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation

__all__ = ["HostCounter", "HostDevice"]


class HostCounter:
    """A `Counter` that is always settled.

    Args:
        histograms: observed tensor -> its histogram.
    """

    def __init__(self, histograms: Mapping[str, Histogram]) -> None:
        self._histograms = histograms

    def add(self, arrays: Mapping[str, Activation], pool: Executor | None = None) -> None:
        """Counts one batch, see `Counter.add`.

        Raises:
            StatisticsError: when an array is not of floats; nothing is counted then.
        """
        values = [self.download(array) for array in arrays.values()]
        add_all([self._histograms[name] for name in arrays], values, pool)

    def settle(self) -> None:
        """Does nothing: every count is in the histograms at once."""

    def download(self, array: Activation) -> np.ndarray:
        """The array itself."""
        if isinstance(array, DeviceArray):
            raise TypeError("an array on a device is counted by that device's counter, not by the host's")
        return array


class HostDevice:
    """The `CountingDevice` that every machine has."""

    memory = None

    def free_memory(self) -> int | None:
        """Bytes that can be had without swapping; None where the system does not say."""
        return available_memory()

    def counter(self, histograms: Mapping[str, Histogram]) -> HostCounter:
        """A counter into these histograms."""
        return HostCounter(histograms)
