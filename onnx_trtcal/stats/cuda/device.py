"""A CUDA device as collection sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.stats.cuda.counter import CudaCounter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["CudaDevice"]


class CudaDevice:
    """A `CountingDevice` on which activations stay and are counted.

    Args:
        gpu: the device's memory and its kernel.
        memory: ONNX Runtime's name of that memory.
    """

    def __init__(self, gpu: Gpu, memory: str = "cuda") -> None:
        self.memory = memory
        self._gpu = gpu

    def free_memory(self) -> int | None:
        """Bytes of device memory that can be had."""
        return self._gpu.free_memory()

    def counter(self, histograms: Mapping[str, Histogram]) -> CudaCounter:
        """A counter into these histograms, whose bins it keeps on the device."""
        return CudaCounter(self._gpu, histograms)
