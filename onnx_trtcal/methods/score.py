"""What a threshold does to a tensor: values clipped and quantization error, exact for the histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.scales import QUANTIZED_MAX
from onnx_trtcal.support.jit import compiled

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Score", "score"]

_LARGEST_LEVEL = float(QUANTIZED_MAX)


@dataclass(frozen=True)
class Score:
    """The effect of signed 8-bit quantization with one threshold, over all finite values of a tensor."""

    clipped: float
    """Share (0 to 1) of the values whose magnitude exceeds the threshold."""
    mse: float
    """Mean squared error, in the tensor's units squared."""
    sqnr: float
    """Signal to quantization noise, sum x^2 / sum (x - q)^2, in dB; inf where nothing is lost."""
    cosine: float
    """Cosine similarity between the values and their quantized selves; 1.0 where all values are zero."""


def score(histogram: Histogram, threshold: float) -> Score:
    """Scores a threshold on the bin centres of a histogram; amax stands for its own bin, the topmost in use.

    A value x becomes s * min(round(x / s), 127) with s = threshold / 127; zeros stay exact. A threshold
    of 0 makes every value 0.
    """
    if histogram.amax == 0:
        return Score(0.0, 0.0, math.inf, 1.0)
    width = histogram.width
    counts = histogram.used()
    clipped, noise, signal, dot, power = _sums(counts, histogram.amax / width, threshold / width)
    return Score(
        clipped=clipped / histogram.total,
        mse=float(noise / histogram.total * width**2),
        sqnr=10 * math.log10(signal / noise) if noise > 0 else math.inf,
        cosine=min(dot / math.sqrt(signal * power), 1.0) if power > 0 else 0.0,
    )


@compiled
def _sums(counts: Any, top: Any, threshold: Any) -> Any:
    # Of the bins up to that of `top`, in units of one bin:
    # values clipped, sum c (x - q)^2, sum c x^2, sum c x q, sum c q^2.
    clipped, noise, signal, dot, power = 0, 0.0, 0.0, 0.0, 0.0
    s = threshold / _LARGEST_LEVEL
    for j in range(counts.size):
        c = counts[j]
        if c == 0:
            continue
        x = j + 0.5 if j < counts.size - 1 else top
        q = s * min(np.rint(x / s), _LARGEST_LEVEL) if s > 0 else 0.0
        clipped += c if x > threshold else 0
        noise += c * (x - q) ** 2
        signal += c * x * x
        dot += c * x * q
        power += c * q * q
    return clipped, noise, signal, dot, power
