"""Thresholds for data that is on a lattice already, such as features that were quantized once.

A scale that is a multiple of the lattice's step meets every value, and rounds nothing that is not clipped.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.scales import QUANTIZED_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["lattice_step", "lattice_thresholds"]

# Values further apart than this share of the largest are different; how far from the lattice they may be, in steps.
_APART, _OFF = 1e-4, 0.02
# Finer lattices look like any other data to 8 bits.
_MOST_STEPS = 4 * QUANTIZED_MAX
_LEAST_SHARE = 1 / 16


def lattice_step(arrays: Iterable[np.ndarray]) -> float | None:
    """The largest step that all magnitudes are multiples of; None where there is none coarse enough to matter.

    Args:
        arrays: of any shape and type of numbers.
    """
    found = np.unique(np.concatenate([np.unique(np.abs(each.astype(np.float64))) for each in arrays]))
    if not found.size or not np.isfinite(found).all() or found[-1] == 0:
        return None
    gaps = np.diff(np.concatenate([[0.0], found]))
    step = gaps[gaps > _APART * found[-1]].min()
    multiples = np.rint(found / step)
    if multiples[-1] > _MOST_STEPS or np.abs(found / step - multiples).max() > _OFF * max(
        multiples[-1] / 100, 1
    ):
        return None
    step = float(found @ multiples / (multiples @ multiples))
    return step if np.abs(found / step - multiples).max() <= _OFF else None


def lattice_thresholds(step: float, amax: float) -> list[float]:
    """127 steps, 254 steps and so on: those that keep some of the range, up to the first that keeps all of it."""
    found = []
    for count in itertools.count(1):
        threshold = QUANTIZED_MAX * step * count
        if threshold >= _LEAST_SHARE * amax:
            found.append(threshold)
        if threshold >= amax:
            return found
    raise AssertionError
