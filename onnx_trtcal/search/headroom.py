"""How much larger than seen a tensor gets on other data, as far as it is worth levels to be ready for that.

The largest of a million values is hardly exceeded by the next ones. The largest of a few thousand is: a net of fully
connected layers gives one value per channel and sample, and its thresholds, none of them above what was seen, then clip
the largest values of most other samples. Headroom costs little: 10 % of it makes the noise of rounding 0.8 dB louder.

Values above a high one exceed it by an exponentially distributed amount, if their distribution has neither an end nor a
heavy tail (Pickands, Statistical Inference Using Extreme Order Statistics, 1975, Annals of Statistics 3): with mean
excess b over the k-th largest value u of n, the expected squared clipping error of n other values at a threshold t is
2 k b^2 exp(-(t - u) / b). Rounding costs each value that is not rounded to zero (t / 127)^2 / 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.scales import QUANTIZED_MAX

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["headroom"]

# So many of the largest values show how the tail falls. None of these numbers is right for every tail: their mean is.
_TAILS = (8, 16, 32, 64, 128)
_FACTORS = np.linspace(1.0, 2.0, 201)


def headroom(histogram: Histogram) -> float:
    """By which factor to exceed the largest magnitude seen: the one with the least error to expect on other data.

    Args:
        histogram: of a tensor.

    Returns:
        From 1 to 2. It is 1 where values are many, where they saturate, and where they are too few to tell.
    """
    counts = histogram.used()
    if not counts.size:
        return 1.0
    magnitudes = (np.arange(counts.size) + 0.5) * histogram.width
    magnitudes[-1] = histogram.amax
    rounded = int(counts[magnitudes > histogram.amax / (2 * QUANTIZED_MAX)].sum())
    largest = _largest(magnitudes, counts, _TAILS[-1] + 1)
    thresholds = histogram.amax * _FACTORS
    clipping = [
        _clipping(largest[:tail], largest[tail], thresholds) for tail in _TAILS if 2 * tail <= rounded
    ]
    if not clipping:
        return 1.0
    error = rounded * (thresholds / QUANTIZED_MAX) ** 2 / 12 + np.mean(clipping, axis=0)
    return float(_FACTORS[np.argmin(error)])


def _largest(magnitudes: np.ndarray, counts: np.ndarray, number: int) -> np.ndarray:
    """The largest values, descending: `number` of them, or all."""
    kept = np.minimum(counts[::-1], number)
    until = int(np.searchsorted(np.cumsum(kept), number)) + 1
    return np.repeat(magnitudes[::-1][:until], kept[:until])[:number]


def _clipping(above: np.ndarray, base: float, thresholds: np.ndarray) -> np.ndarray:
    """The squared clipping error to expect of as many other values as were seen.

    Args:
        above: the largest values.
        base: the next one.
        thresholds: at each of which, none below `base`.
    """
    excess = float(np.mean(above - base))
    if excess <= 0:
        return np.zeros_like(thresholds)
    found: np.ndarray = 2 * above.size * excess**2 * np.exp(-(thresholds - base) / excess)
    return found
