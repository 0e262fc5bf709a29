"""The threshold that keeps a given percentage of the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["solve"]


def solve(histogram: Histogram, percent: float) -> float:
    """The percentile of |x| over all finite values, zeros included.

    Inside a bin the values are taken to be evenly spread, so the answer lies within one bin of the
    exact percentile. It grows with `percent` and is the largest magnitude at 100. Where zeros alone fill the
    percentile it is the upper edge of the first bin that holds anything, for a threshold must be positive.

    Args:
        histogram: of the tensor.
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
