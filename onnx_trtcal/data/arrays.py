"""Objects that hold numbers, such as tensors of other frameworks, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_trtcal.errors import DataError

__all__ = ["is_array", "to_array"]


def is_array(value: Any) -> bool:
    """Whether an object is an array of some framework: NumPy, PyTorch, TensorFlow, JAX, CuPy."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def to_array(value: Any, where: str) -> np.ndarray:
    """The object as a NumPy array, copied from a GPU and detached from its gradient where that is needed.

    Args:
        value: an array or tensor, a number, or nested lists of numbers or strings.
        where: what messages call it.

    Raises:
        DataError: when NumPy cannot make a numeric array of it.
    """
    kind = type(value).__name__
    if isinstance(value, (tuple, list)) and any(is_array(each) for each in value):
        raise DataError(
            f"a {kind} of {len(value)} was given where an array is wanted",
            where=where,
            fix="give the array alone, or {input name: array}",
        )
    try:
        array = np.asarray(_on_host(value))
    except Exception as error:  # frameworks raise errors of their own
        raise DataError(f"a {kind} is not an array: {error}", where=where, fix="give NumPy arrays") from error
    if array.dtype == object and not _all_text(array):
        raise DataError(f"a {kind} is not a numeric array", where=where, fix="give NumPy arrays")
    return array


def _on_host(value: Any) -> Any:
    """What NumPy can read: PyTorch refuses a tensor that needs its gradient, is on a GPU, or is bfloat16."""
    if not is_array(value) or isinstance(value, np.ndarray):
        return value
    for method in ("detach", "cpu"):
        if callable(getattr(value, method, None)):
            value = getattr(value, method)()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        return value.float()
    if hasattr(value, "__cuda_array_interface__") and callable(getattr(value, "get", None)):
        return value.get()  # CuPy
    return value


def _all_text(array: np.ndarray) -> bool:
    return array.size > 0 and all(isinstance(each, str) for each in array.flat)
