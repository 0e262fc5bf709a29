"""Arrays brought to the element type the model wants, where no value changes for it."""

from __future__ import annotations

import numpy as np

from onnx_trtcal.errors import DataError

__all__ = ["cast"]


def cast(array: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    """The array as C-contiguous `dtype`, byte order native.

    Floats are rounded to a narrower float unless that makes a finite value infinite. Integers and bools go to
    any float or integer type that holds each of their values exactly. Everything else is refused: float to
    integer, complex, text to number.

    Args:
        array: any shape.
        dtype: element type of the model's input; `object` stands for strings.
        where: file and input, for the message.

    Raises:
        DataError: when the cast would change values.
    """
    if array.dtype == dtype:
        return np.asarray(array, order="C")
    if dtype.kind == "O":
        if array.dtype.kind in "UST":
            return array.astype(object)
        raise _refused(array, dtype, where, "the model wants strings")
    if array.dtype == np.dtype("V2") and dtype.name == "bfloat16":
        # NumPy's file format has no name for bfloat16 and stores it as two raw bytes.
        return np.asarray(array.view(dtype), order="C")
    if _is_float(array.dtype) and _is_float(dtype):
        return _round(array, dtype, where)
    if array.dtype.kind in "bu" and array.dtype.itemsize == 1 and _is_float(dtype) and dtype.itemsize > 1:
        return array.astype(dtype, order="C")
    if array.dtype.kind in "biu" and (_is_float(dtype) or dtype.kind in "biu"):
        return _exactly(array, dtype, where)
    reason = "fractions would be lost" if _is_float(array.dtype) and dtype.kind in "biu" else ""
    raise _refused(array, dtype, where, reason)


def _is_float(dtype: np.dtype) -> bool:
    return dtype.name.startswith(("float", "bfloat"))


def _round(array: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        result = array.astype(dtype, order="C")
    if dtype.itemsize < array.dtype.itemsize and not np.array_equal(np.isinf(result), np.isinf(array)):
        raise _refused(
            array, dtype, where, f"{np.nanmax(np.abs(array[np.isfinite(array)])):g} would overflow"
        )
    return result


def _exactly(array: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(dtype, order="C")
        if _is_float(dtype) and array.dtype.kind != "b":
            # One past the largest value is a power of two, which a float holds and the way back would not.
            end = float(np.iinfo(array.dtype).max + 1)
            fits = bool((np.isfinite(result) & (result.astype(np.float64) < end)).all())
            same = fits and np.array_equal(result.astype(array.dtype), array)
        else:
            same = np.array_equal(result, array)
    if not same:
        raise _refused(array, dtype, where, f"values from {array.min()} to {array.max()} do not all fit")
    return result


def _refused(array: np.ndarray, dtype: np.dtype, where: str, reason: str) -> DataError:
    wanted = "strings" if dtype.kind == "O" else dtype.name
    return DataError(
        f"the array is {array.dtype.name}, the model wants {wanted}" + (f": {reason}" if reason else ""),
        where=where,
        fix=f"save the data as {wanted}, with the values the model was trained on",
    )
