"""The host's memory in place of a device's: kernels run in numba's CUDA simulator on arrays of this process."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import ml_dtypes
import numpy as np

from onnx_trtcal.support.device_array import DeviceArray

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}


def device_array(values: np.ndarray) -> DeviceArray:
    """The array as if it lay on a device."""
    values = np.array(values, order="C")
    return DeviceArray(values.ctypes.data, values.shape, values.dtype, values)


def word(address: int) -> np.uint32:
    return np.uint32(ctypes.c_uint32.from_address(int(address)).value)


def half(address: int) -> np.uint32:
    return np.uint32(ctypes.c_uint16.from_address(int(address)).value)


def from_float16(bits: np.uint32) -> np.uint32:
    return np.uint16(bits).view(np.float16).astype(np.float32).view(np.uint32)


def as_float(bits: np.uint32) -> np.float32:
    return np.uint32(bits).view(np.float32)


def copy(address: int, size: int) -> np.ndarray:
    return np.frombuffer(ctypes.string_at(address, size), np.uint8).copy()


def place(values: np.ndarray) -> tuple[int, object]:
    held = values.copy()
    return held.ctypes.data, held


class HostMemory(NamedTuple):
    """`onnx_trtcal.stats.cuda.memory_access.MemoryAccess`, whose module cannot be imported without CUDA's compiler."""

    word: object = word
    half: object = half
    from_float16: object = from_float16
    as_float: object = as_float
    copy: object = copy
    place: object = place
