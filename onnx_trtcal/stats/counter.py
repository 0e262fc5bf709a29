"""What collection knows of counting: a device, and the counter that it makes. `host` and `cuda` have one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    import numpy as np

    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation

__all__ = ["Counter", "CountingDevice"]


class Counter(Protocol):
    """Counts activations into the histograms it was made for; all counters give the same, bit for bit."""

    def add(self, arrays: Mapping[str, Activation], pool: Executor | None = None) -> list[str]:
        """Counts one batch; the arrays' memory is not read any more when this returns.

        The histograms are up to date after `settle`, not before.

        Args:
            arrays: observed tensor -> its values, some or all of the counter's tensors.
            pool: threads for what is counted on the host; None counts in the calling thread.

        Returns:
            The tensors that have a NaN or Inf in this batch.

        Raises:
            StatisticsError: when an array is not of floats; nothing is counted then.
        """

    def settle(self) -> None:
        """Brings the histograms up to date, which may be changed until the next `add`."""

    def download(self, array: Activation) -> np.ndarray:
        """The array in the host's memory: itself where it is there already, else a copy."""


class CountingDevice(Protocol):
    """Where activations are left by ONNX Runtime, and counted."""

    @property
    def memory(self) -> str | None:
        """ONNX Runtime's name of the device that keeps the activations; None for the host."""

    def free_memory(self) -> int | None:
        """Bytes that activations can have there; None where the system does not say."""

    def counter(self, histograms: Mapping[str, Histogram]) -> Counter:
        """A counter into these histograms: observed tensor -> histogram, all of one rule."""
