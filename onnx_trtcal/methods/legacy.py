"""TensorRT's legacy calibrator: a quantile over the 2048 bins that TensorRT calibrates with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["solve"]


def solve(histogram: Histogram, quantile: float) -> float:
    """The quantile form of TensorRT's legacy calibrator (IInt8LegacyCalibrator).

    NVIDIA documents `getQuantile` as the share, between 0 and 1, that selects the region maximum; how it
    rounds is not public. Here: the upper edge, at most amax, of the bin in which the quantile falls, among
    the 2048 bins TensorRT calibrates with, zeros included. With the 0.999999 of NVIDIA's samples this gives
    the exact maximum for data whose top value is frequent, as in the one cache that is public. The regression
    cutoff is taken as 1, with which the regression form has no effect.

    Args:
        histogram: of the tensor.
        quantile: over 0, up to 1.

    Returns:
        The threshold; 0.0 for an all-zero tensor.
    """
    if histogram.amax == 0:
        return 0.0
    counts, width = histogram.coarse()
    upto = np.cumsum(counts)
    bin_ = int(np.searchsorted(upto, min(quantile * upto[-1], upto[-1])))
    counts[0] -= histogram.zeros
    first = int(np.argmax(counts > 0))
    return float(min((max(bin_, first) + 1) * width, histogram.amax))
