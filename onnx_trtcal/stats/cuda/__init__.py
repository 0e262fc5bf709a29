"""Counting activations where a CUDA device has them, so that they need not be copied to the host.

numba-cuda is imported by `open_device` only.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.stats.histogram import Histogram

if TYPE_CHECKING:
    from onnx_trtcal.stats.cuda.device import CudaDevice
    from onnx_trtcal.stats.cuda.gpu import Gpu

__all__ = ["check_gpu", "open_device"]


def open_device() -> tuple[CudaDevice | None, str]:
    """The CUDA device to count on, when it counts a small array right, else None; and how or why not."""
    if importlib.util.find_spec("numba_cuda") is None:
        return None, "numba-cuda is not installed (pip install 'onnx_trtcal[cuda]', in a clone '.[cuda]')"
    try:
        from onnx_trtcal.stats.cuda.device import CudaDevice
        from onnx_trtcal.stats.cuda.gpu import Gpu

        gpu = Gpu()
        check_gpu(gpu)
        return CudaDevice(gpu), "histograms are counted on the GPU"
    except Exception as error:  # noqa: BLE001 (a driver, a compiler and a linker raise errors of their own)
        message = " ".join(str(error).split()) or type(error).__name__
        return None, f"numba-cuda does not work here: {message[:200]}"


def check_gpu(gpu: Gpu) -> None:
    """Counts small arrays on a device and on the host.

    Raises:
        ArithmeticError: when the two differ.
    """
    from onnx_trtcal.stats.cuda.counter import CudaCounter

    values = np.array([0, -1, 3e-5, np.nan, 2, -np.inf, 2.5, 1e-7] * 40, np.float32) * np.float32(1.1)
    expected, found = Histogram(), Histogram()
    counter = CudaCounter(gpu, {"values": found})
    for array in (values, values.astype(np.float16), values * 4):
        counter.add({"values": gpu.upload(array)})
        expected.add(array)
    counter.settle()
    if found != expected:
        raise ArithmeticError("the GPU counted a small array wrong")
