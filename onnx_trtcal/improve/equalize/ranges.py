"""How large each channel of a tensor gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChannelRanges"]

# The largest few samples do not set a range, because one outlier would cost all the other samples their levels: the
# third largest does, of few samples the second or the first.
_RANK = 3
_SAMPLES_PER_RANK = 8


class ChannelRanges:
    """The largest magnitudes per channel over samples.

    It does not depend on the order of the samples, nor on how they are batched.

    Args:
        axes: tensor -> its channel axis, counted from the end.

    Attributes:
        samples: how many were counted.
    """

    def __init__(self, axes: Mapping[str, int]) -> None:
        self._axes = dict(axes)
        self._largest: dict[str, np.ndarray] = {}
        self.samples = 0

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Counts one sample."""
        self.samples += 1
        for name, axis in self._axes.items():
            found = channel_maxima(arrays[name], axis)
            kept = self._largest.get(name)
            kept = found[None] if kept is None else np.concatenate([kept, found[None]])
            # Ascending: the last rows are the largest.
            self._largest[name] = np.sort(kept, axis=0)[-_RANK:]

    def all(self) -> dict[str, np.ndarray]:
        """Tensor -> what each of its channels reaches in nearly all samples, float64."""
        rank = min(_RANK, 1 + self.samples // _SAMPLES_PER_RANK)
        return {name: kept[-rank] for name, kept in self._largest.items()}


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
