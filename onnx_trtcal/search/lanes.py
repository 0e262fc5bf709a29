"""Several runs in one: samples and variants beside one another along axis 0, where the graph keeps rows apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["is_stack", "same_shapes", "split", "stack"]

# Rows run together are summed up in another order than alone; rows that mix are off by far more.
_TOLERANCE = 1e-3


def same_shapes(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two feeds can be stacked."""
    return all(array.ndim > 0 and array.shape == other[name].shape for name, array in one.items())


def stack(feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Feeds of one shape as one, along axis 0."""
    if len(feeds) == 1:
        return dict(feeds[0])
    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split(array: np.ndarray, lanes: int) -> list[np.ndarray]:
    """The lanes of an array again."""
    return [array] if lanes == 1 else np.split(array, lanes)


def is_stack(array: np.ndarray, parts: Sequence[np.ndarray]) -> bool:
    """Whether an array is its parts one after another, but for the last digits."""
    if any(part.ndim == 0 or part.dtype != array.dtype for part in parts) or array.ndim == 0:
        return False
    if any(part.shape[1:] != array.shape[1:] for part in parts):
        return False
    expected = np.concatenate(parts)
    if expected.shape != array.shape:
        return False
    if array.dtype.kind != "f":
        return bool(np.array_equal(expected, array))
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(array)):
        return False
    difference = np.abs(expected[finite].astype(np.float64) - array[finite].astype(np.float64))
    largest = np.abs(expected[finite].astype(np.float64)).max(initial=0.0)
    return bool(difference.max(initial=0.0) <= _TOLERANCE * largest)
