"""Error and power along an axis, position by position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.support.jit import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AxisSums", "TensorSums", "sample_power"]


@dataclass
class AxisSums:
    """Sums per position of one axis; all of them float64 vectors of one length.

    Attributes:
        signal: sum of x² over the pairs of values x (expected) and y (got) that are finite.
        noise: sum of (x - y)².
        values: how many pairs.
    """

    signal: np.ndarray = field(default_factory=lambda: np.zeros(0))
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, signal: np.ndarray, noise: np.ndarray, values: np.ndarray) -> None:
        """Adds what one sample has; a sample that is longer along the axis makes the sums longer."""
        self.signal = _added(self.signal, signal)
        self.noise = _added(self.noise, noise)
        self.values = _added(self.values, values)


class TensorSums:
    """Sums over the samples of one tensor, added one by one in float64 whatever the batches were.

    Args:
        axes: the axes to sum along, the batch axis counted; empty for one sum over everything.

    Attributes:
        samples: how many were added.
        largest: the largest finite magnitude that was expected.
    """

    def __init__(self, axes: Sequence[int]) -> None:
        self.samples = 0
        self.largest = 0.0
        self._axes: dict[int | None, AxisSums] = {axis: AxisSums() for axis in axes or (None,)}

    def add(self, expected: np.ndarray, got: np.ndarray, rows: int | None = None) -> None:
        """Adds two arrays of one shape.

        Args:
            expected: of any float type.
            got: of any float type.
            rows: how many rows of axis 0 to add, each as a sample; None adds the whole arrays as one sample.
        """
        by_row = rows is not None and 0 not in self._axes
        for row in range(rows) if rows is not None and by_row else (...,):
            one, other = _floats(expected[row]), _floats(got[row])
            self.samples += 1
            self.largest = max(self.largest, _largest(one.reshape(-1)) if one.size else 0.0)
            for axis, sums in self._axes.items():
                sums.add(*_along(one, other, axis if axis is None or not by_row else axis - 1))

    def along(self, axis: int | None) -> AxisSums:
        """The sums per position of an axis, or over everything as one position."""
        if axis in self._axes:
            return self._axes[axis]
        sums = next(iter(self._axes.values()))
        return AxisSums(*(np.array([part.sum()]) for part in (sums.signal, sums.noise, sums.values)))


def sample_power(sample: np.ndarray, axis: int) -> np.ndarray:
    """The mean square of the finite values at every position of an axis of one sample."""
    one = _floats(sample)
    signal, _, values = _along(one, one, axis)
    return np.asarray(signal / np.maximum(values, 1))


def _along(
    expected: np.ndarray, got: np.ndarray, axis: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = expected.shape
    length = 1 if axis is None else shape[axis]
    behind = expected.size if axis is None else int(np.prod(shape[axis + 1 :]))
    signal, noise, values = np.zeros(length), np.zeros(length), np.zeros(length)
    if expected.size:
        form = (-1, length, behind)
        _add_sums(expected.reshape(form), got.reshape(form), signal, noise, values)
    return signal, noise, values


def _added(sums: np.ndarray, part: np.ndarray) -> np.ndarray:
    if sums.size < part.size:
        sums = np.concatenate([sums, np.zeros(part.size - sums.size)])
    sums[: part.size] += part
    return sums


def _floats(array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


@compiled
def _add_sums(expected: Any, got: Any, signal: Any, noise: Any, values: Any) -> None:
    for i in range(expected.shape[0]):
        for j in range(expected.shape[1]):
            for k in range(expected.shape[2]):
                x, y = np.float64(expected[i, j, k]), np.float64(got[i, j, k])
                if np.isfinite(x) and np.isfinite(y):
                    signal[j] += x * x
                    noise[j] += (x - y) * (x - y)
                    values[j] += 1


@compiled
def _largest(values: Any) -> Any:
    largest = 0.0
    for i in range(values.size):
        x = abs(np.float64(values[i]))
        if np.isfinite(x):
            largest = max(largest, x)
    return largest
