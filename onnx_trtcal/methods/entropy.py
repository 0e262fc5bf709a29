"""TensorRT's EntropyCalibration2: the number of bins to keep, by the smallest Kullback-Leibler divergence.

The search is the one S. Migacz showed (8-bit Inference with TensorRT, GTC 2017, S7310), with what the
slides leave open settled by scales that TensorRT wrote: candidate 2048 included, bin 0 replaced, Q taken
without outliers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.support.jit import compiled, part

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["kept_bins", "solve"]

LEVELS = 128  # magnitudes of a signed 8-bit integer

# More than rounding does to the fast form (1e-10 for the largest counts) and to the direct form.
_NEAR = 1e-9
_TIED = 1e-12


def solve(histogram: Histogram) -> float:
    """Threshold of a tensor: the middle of the first bin left out.

    A tensor that is kept whole gets 2048.5 / 2048 of the histogram's range, as in TensorRT's caches.

    Returns:
        The threshold; 0.0 for an all-zero tensor.
    """
    if histogram.amax == 0:
        return 0.0
    counts, width = histogram.coarse()
    return (kept_bins(counts) + 0.5) * width


def kept_bins(counts: np.ndarray) -> int:
    """How many of the leading bins to keep.

    For each candidate i from 128 to the number of bins, P is the first i bins with all outliers added to
    the last of them, and Q the first i bins without outliers, merged into 128 levels (bin j into level
    floor(j * 128 / i)) and spread evenly over the non-empty bins of each level. The candidate with the
    smallest KL(P || Q) of the normalised pair wins; among equals (within rounding) the largest.
    A candidate whose outliers fall on an empty bin has an infinite divergence.

    Args:
        counts: int64[n], n >= 128, bins of |x|. Bin 0 is read as max(counts[1], 1) whatever it holds: zeros
            say nothing about the threshold and would drown the rest.
    """
    bins = np.array(counts, dtype=np.int64)
    bins[0] = max(int(bins[1]), 1)
    size = bins.size + 1
    sums = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size)
    return int(_search(bins, *sums, np.full(size, np.inf)))


@compiled
def _search(bins: Any, total: Any, occupied: Any, plogp: Any, divergence: Any) -> Any:
    # With N = sum(P) = all counts and C = sum(Q) = counts kept, and level g holding s counts in n non-empty
    # bins, so that Q = s / n on each of them,
    #     N * KL = sum P log P - sum P log Q + N log(C / N)
    #            = sum_g [ sum_{j in g} h_j log h_j - s log(s / n) ]
    #              + [ (h + o) log(h + o) - h log h - o log(s' / n') ] + N log(C / N)
    # where h is the last kept bin, o the outliers and s', n' its level's. Sums over levels are differences of
    # prefix sums, so a candidate costs 128 steps whatever its width. Each level's term is >= 0 (log sum
    # inequality): once the partial sum exceeds the best so far, the candidate is lost. To have a good "best"
    # early, every 16th candidate goes first.
    size = bins.size
    _add_up(bins, total, occupied, plogp)
    best = np.inf
    for start in range(16):
        for i in range(LEVELS + start, size + 1, 16):
            divergence[i] = _fast(bins, total, occupied, plogp, i, best + _NEAR)
            best = min(best, divergence[i])
    return _settle(bins, total, occupied, divergence, best)


@part
def _settle(bins: Any, total: Any, occupied: Any, divergence: Any, best: Any) -> Any:
    # Candidates within reach of the best are compared by the plain sum, where equal terms cancel exactly, so
    # that true ties (frequent in sparse histograms) are recognised on every machine.
    lowest = np.inf
    for i in range(LEVELS, bins.size + 1):
        if divergence[i] <= best + _NEAR:
            divergence[i] = _direct(bins, total, occupied, i)
            lowest = min(lowest, divergence[i])
        else:
            divergence[i] = np.inf
    for i in range(bins.size, LEVELS - 1, -1):
        if divergence[i] <= lowest + _TIED:
            return i
    return bins.size


@part
def _add_up(bins: Any, total: Any, occupied: Any, plogp: Any) -> None:
    # Prefix sums of the counts, of the bins that are not empty, and of h log h.
    for j in range(bins.size):
        total[j + 1] = total[j] + bins[j]
        occupied[j + 1] = occupied[j] + (bins[j] > 0)
        plogp[j + 1] = plogp[j] + _xlogx(bins[j])


@part
def _xlogx(count: Any) -> Any:
    return count * math.log(count) if count > 0 else 0.0


@part
def _fast(bins: Any, total: Any, occupied: Any, plogp: Any, i: Any, limit: Any) -> Any:
    everything = total[-1]
    last, outliers = bins[i - 1], everything - total[i]
    if last == 0 and outliers > 0:
        return np.inf
    begin = ((LEVELS - 1) * i + LEVELS - 1) // LEVELS
    mean = (total[i] - total[begin]) / max(occupied[i] - occupied[begin], 1)
    result = everything * math.log(total[i] / everything)
    if outliers > 0:
        result += _xlogx(last + outliers) - _xlogx(last) - outliers * math.log(mean)
    limit *= everything
    stop = 0
    for level in range(LEVELS):
        start, stop = stop, ((level + 1) * i + LEVELS - 1) // LEVELS
        spread = occupied[stop] - occupied[start]
        if spread > 1:
            inside = total[stop] - total[start]
            result += plogp[stop] - plogp[start] - inside * math.log(inside / spread)
            if result > limit:
                return np.inf
    return result / everything


@part
def _direct(bins: Any, total: Any, occupied: Any, i: Any) -> Any:
    everything, kept = total[-1], total[i]
    result = 0.0
    stop = 0
    for level in range(LEVELS):
        start, stop = stop, ((level + 1) * i + LEVELS - 1) // LEVELS
        spread = occupied[stop] - occupied[start]
        if spread == 0:
            continue
        q = (total[stop] - total[start]) / spread / kept
        for j in range(start, stop):
            count = bins[j] + (everything - kept if j == i - 1 else 0)
            if count > 0:
                p = count / everything
                result += p * math.log(p / q)
    return result
