"""The device as the counter sees it: memory for bins, and one kernel."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from onnx_trtcal.stats.cuda.kernel import make_count
from onnx_trtcal.stats.cuda.layout import DEFAULT, LAYOUTS, Layout
from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from onnx_trtcal.stats.cuda.memory_access import MemoryAccess

__all__ = ["Gpu"]


class _Buffers:
    """Arguments and results of a launch over some number of tensors; allocating takes longer than counting."""

    def __init__(self, tensors: int) -> None:
        self.table = cuda.device_array((8, tensors), np.int64)
        self.factors = cuda.device_array((2, tensors), np.float32)
        self.state = cuda.device_array(tensors * 4, np.uint64)


class Gpu:
    """The current CUDA device, through numba.

    ONNX Runtime and numba both use the device's primary context, so that addresses are good for both.

    Args:
        layout: where blocks keep their bins; None for the default.
        memory: how to read memory; None for CUDA's.
    """

    def __init__(self, layout: Layout | None = None, memory: MemoryAccess | None = None) -> None:
        if memory is None:
            from onnx_trtcal.stats.cuda.memory_access import CUDA_MEMORY

            memory = CUDA_MEMORY
        self.layout = layout or LAYOUTS[DEFAULT]
        self._memory = memory
        self._count = make_count(self.layout, memory)
        self._buffers: dict[int, _Buffers] = {}
        # numba would warn at every launch over tensors that are too small to fill the device.
        warnings.filterwarnings("ignore", message=".*under-utilization")

    def zeros(self, size: int) -> Any:
        """uint32[size] on the device, all zero."""
        return cuda.to_device(np.zeros(size, np.uint32))

    def fetch(self, counts: Any) -> np.ndarray:
        """The content of uint32 counts on the device, which are all zero then."""
        values = counts.copy_to_host()
        counts.copy_to_device(np.zeros(values.size, np.uint32))
        return np.asarray(values)

    def count(
        self,
        table: np.ndarray,
        factors: np.ndarray,
        counts: Any,
        *,
        closed_above: bool,
        last: int,
        blocks: int,
    ) -> np.ndarray:
        """Launches the kernel and waits for it.

        Args:
            table: int64[8, tensors], see `fields`.
            factors: float32[2, tensors], see `fields`.
            counts: uint32[rows * (last + 1)] on the device, added to.
            closed_above: whether bins are closed above and open below.
            last: the number of the last bin.
            blocks: of threads, as many as the tensors take together.

        Returns:
            uint64[tensors, 4]: the kernel's state.
        """
        tensors = table.shape[1]
        if tensors not in self._buffers:
            self._buffers[tensors] = _Buffers(tensors)
        on_device = self._buffers[tensors]
        on_device.table.copy_to_device(table)
        on_device.factors.copy_to_device(factors)
        on_device.state.copy_to_device(np.zeros(tensors * 4, np.uint64))
        self._count[blocks, self.layout.threads](
            on_device.table,
            on_device.factors,
            np.uint32(closed_above),
            np.uint32(last),
            counts,
            on_device.state,
        )
        # Copying waits for the kernel: the owner of the arrays may reuse their memory from here on.
        return np.asarray(on_device.state.copy_to_host()).reshape(-1, 4)

    def upload(self, array: np.ndarray) -> DeviceArray:
        """A copy of an array on the device."""
        address, owner = self._memory.place(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        return DeviceArray(address, array.shape, array.dtype, owner)

    def download(self, array: DeviceArray) -> np.ndarray:
        """A copy of a device array in the host's memory."""
        return self._memory.copy(array.address, array.nbytes).view(array.dtype).reshape(array.shape)

    def free_memory(self) -> int:
        """Bytes of device memory that can be had."""
        return int(cuda.current_context().get_memory_info()[0])
