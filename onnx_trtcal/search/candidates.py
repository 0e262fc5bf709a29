"""The thresholds that `auto` tries for a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.methods import parse_method

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["METHODS_TRIED", "candidates"]

METHODS_TRIED = ("mse", "minmax", "entropy", "percentile:99.99", "percentile:99.999")
_STEPS_PER_OCTAVE = 4
_OCTAVES = 3.5
# How far below the smallest method's threshold the grid still goes.
_BELOW = 0.6


def candidates(histogram: Histogram) -> dict[str, float]:
    """Thresholds by name: those of the methods, then amax * 2^(-k/4) as `amax*0.841` and so on.

    The grid ends 3.5 octaves below amax, or at 0.6 times the smallest threshold of a method. Thresholds
    that are equal appear once, under the first name. An all-zero tensor has the one candidate 0.
    """
    found: dict[str, float] = {}
    for text in METHODS_TRIED:
        _add(found, text, parse_method(text).solve(histogram))
    floor = _BELOW * min(found.values())
    for k in range(1, int(_STEPS_PER_OCTAVE * _OCTAVES) + 1):
        share = 2 ** (-k / _STEPS_PER_OCTAVE)
        if histogram.amax * share < floor:
            break
        _add(found, f"amax*{share:.3f}", float(np.float32(histogram.amax * share)))
    return found


def _add(found: dict[str, float], name: str, threshold: float) -> None:
    if threshold not in found.values():
        found[name] = threshold
