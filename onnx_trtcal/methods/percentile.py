"""Thresholds that keep a given share of the values: a plain percentile, and TensorRT's legacy quantile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["solve", "solve_legacy"]


def solve(histogram: Histogram, percent: float) -> float:
    """The percentile of |x| over all finite values, zeros included.

    Inside a bin the values are taken to be evenly spread, so the answer lies within one bin of the
    exact percentile. It grows with `percent` and is the largest magnitude at 100. Where zeros alone fill the
    percentile it is the upper edge of the first bin that holds anything, for a threshold must be positive.

    Args:
        percent: over 0, up to 100.

    Returns:
        The threshold; 0.0 for an all-zero tensor.
    """
    if histogram.amax == 0:
        return 0.0
    counts = histogram.counts
    upto = np.cumsum(counts)
    wanted = min(percent / 100 * histogram.total - histogram.zeros, upto[-1])
    first = int(np.argmax(counts > 0))
    bin_ = max(int(np.searchsorted(upto, wanted)), first)
    edge = bin_ + (wanted - upto[bin_] + counts[bin_]) / counts[bin_]
    return float(min(max(edge, first + 1) * histogram.width, histogram.amax))


def solve_legacy(histogram: Histogram, quantile: float) -> float:
    """The quantile form of TensorRT's legacy calibrator (IInt8LegacyCalibrator).

    NVIDIA documents `getQuantile` as the share, between 0 and 1, that selects the region maximum; how it
    rounds is not public. Here: the upper edge, at most amax, of the bin in which the quantile falls, among
    the 2048 bins TensorRT calibrates with, zeros included. With the 0.999999 of NVIDIA's samples this gives
    the exact maximum for data whose top value is frequent, as in the one cache that is public. The regression
    cutoff is taken as 1, with which the regression form has no effect.

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
