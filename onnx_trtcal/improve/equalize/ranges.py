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
# Of many samples the largest is an outlier, for which all others would lose levels: the third largest counts, of fewer
# samples the second or the first. On a detector that is worth 2 dB.
_RANK = 3
_SAMPLES_PER_RANK = 16


class ChannelRanges:
    """The largest magnitudes per channel, sample by sample.

    It does not depend on the order of the samples, nor on how they are batched.

    Args:
        axes: tensor -> its channel axis, counted from the end.
    """

    def __init__(self, axes: Mapping[str, int]) -> None:
        self._axes = dict(axes)
        self._largest: dict[str, np.ndarray] = {}
        self._values: dict[str, int] = {}
        self._samples = 0

    def add(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Counts one sample; returns the maxima that `add_maxima` counts."""
        found = {name: channel_maxima(arrays[name], axis) for name, axis in self._axes.items()}
        for name, axis in self._axes.items():
            array = arrays[name]
            self._values[name] = self._values.get(name, 0) + array.size // max(array.shape[axis], 1)
        self.add_maxima(found)
        return found

    def add_maxima(self, maxima: Mapping[str, np.ndarray]) -> None:
        """Counts one sample by the largest magnitude in each of its channels; not how many values there were."""
        self._samples += 1
        for name, found in maxima.items():
            kept = self._largest.get(name)
            # Ascending: the last rows are the largest.
            rows = found[None] if kept is None else np.concatenate([kept, found[None]])
            self._largest[name] = np.sort(rows, axis=0)[-_RANK:]

    def all(self) -> dict[str, np.ndarray]:
        """Tensor -> what each channel reaches in nearly all samples, float64."""
        rank = min(_RANK, 1 + self._samples // _SAMPLES_PER_RANK)
        return {name: kept[-rank] for name, kept in self._largest.items()}

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
