"""How large each channel of a tensor gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChannelRanges"]

# Of fewer values of a channel, the largest says little of what is to come: a net of fully connected layers gives one
# value per sample, and after 128 samples other data was seen to exceed a tenth of the channels' ranges threefold.
_FEWEST_VALUES = 256


class ChannelRanges:
    """The largest magnitudes per channel over samples.

    It does not depend on the order of the samples, nor on how they are batched.

    Args:
        axes: tensor -> its channel axis, counted from the end.
    """

    def __init__(self, axes: Mapping[str, int]) -> None:
        self._axes = dict(axes)
        self._largest: dict[str, np.ndarray] = {}
        self._values: dict[str, int] = {}

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Counts one sample."""
        for name, axis in self._axes.items():
            array = arrays[name]
            found = channel_maxima(array, axis)
            kept = self._largest.get(name)
            self._largest[name] = found if kept is None else np.maximum(kept, found)
            self._values[name] = self._values.get(name, 0) + array.size // max(array.shape[axis], 1)

    def all(self) -> dict[str, np.ndarray]:
        """Tensor -> the largest magnitude of each channel, float64."""
        return self._largest

    def few(self) -> frozenset[str]:
        """The tensors whose channels had too few values for their ranges to be known."""
        return frozenset(name for name, values in self._values.items() if values < _FEWEST_VALUES)


def channel_maxima(values: np.ndarray, axis: int) -> np.ndarray:
    """The largest finite magnitude of each channel, float64; 0 where there is none.

    Args:
        values: of any shape.
        axis: the channel axis, counted from the end.
    """
    others = tuple(k for k in range(values.ndim) if k != values.ndim + axis)
    magnitudes = np.abs(values.astype(np.float32, copy=False))
    found = magnitudes.max(axis=others, initial=0.0)
    if not np.isfinite(found).all():
        found = np.where(np.isfinite(magnitudes), magnitudes, 0.0).max(axis=others, initial=0.0)
    return np.asarray(found, dtype=np.float64)
