"""Arrays as they are counted: their dtype, and where their values lie."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.rows import USABLE
from onnx_trtcal.support.machine_code import address_of

if TYPE_CHECKING:
    from onnx_trtcal.options import Range

__all__ = ["KINDS", "address_of", "as_counted", "flat", "headers"]

KINDS = (
    np.dtype(np.float32),
    np.dtype(np.float16),
    np.dtype(ml_dtypes.bfloat16),
)  # as `stats.rows` numbers them


def as_counted(values: np.ndarray, rule: Range) -> np.ndarray:
    """The array in a dtype that is counted: float32, float16, bfloat16, and float64 under `stable`.

    Raises:
        StatisticsError: when the array is not of floats.
    """
    if values.dtype in KINDS:  # in native byte order
        return values
    name = values.dtype.name
    if not name.startswith(("float", "bfloat", "longdouble")):
        raise StatisticsError(f"values of type {name} are not counted", fix="observe float tensors only")
    if values.dtype.itemsize < 8:
        return values.astype(np.float16 if name == "float16" else np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float64 if rule == "stable" else np.float32)


def flat(values: np.ndarray) -> np.ndarray:
    """The array's values in the order of its memory, 1-D, contiguous and aligned; a copy only if they are not."""
    return np.require(values.ravel(order="K"), requirements=("C", "A"))


@functools.cache
def headers() -> np.ndarray:
    """What the kernel needs to read array objects: to ask each from Python takes longer than to count a few values.

    NumPy's C interface fixes what follows an object's reference count and type (`PyArrayObject_fields` in
    numpy/ndarraytypes.h). That it is so here is tried on an array.

    Returns:
        uint64[5]: the bytes before those fields, 0 where they are not as expected; the address of the type ndarray;
        the addresses of the dtypes in KINDS.
    """
    start = object.__basicsize__
    addresses = [id(np.ndarray), *map(id, KINDS)]
    return np.array([start if _is_known(start) else 0, *addresses], np.uint64)


def _is_known(start: int) -> bool:
    if sys.implementation.name != "cpython" or np.ndarray.__basicsize__ < start + 56:
        return False
    array = np.zeros((2, 3), np.float32)
    words = (ctypes.c_uint64 * 7).from_address(id(array) + start)
    address, dimensions, strides, dtype = words[0], words[2], words[3], words[5]
    ndim, flags = words[1] & 0xFFFFFFFF, words[6] & 0xFFFFFFFF
    if (address, ndim, dtype) != (address_of(array), array.ndim, id(array.dtype)):
        return False
    if strides != dimensions + 8 * ndim or flags != array.flags.num or flags & USABLE != USABLE:
        return False
    kind = ctypes.c_uint64.from_address(id(array) + start - 8).value
    return kind == id(np.ndarray) and tuple((ctypes.c_int64 * 2).from_address(dimensions)) == array.shape
