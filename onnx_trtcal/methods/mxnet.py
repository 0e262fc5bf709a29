"""MXNet's entropy calibration, as its published PyTorch port does it, with the histogram it needs.

It clips differently from TensorRT: signed bins, 255 levels, the centre bin left out, and both distributions
smoothed rather than an infinite divergence. A method of its own also in that its range comes from a first
pass over the data; the second pass counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.support.jit import compiled, part

__all__ = ["SignedHistogram", "solve"]

BINS = 4001
LARGEST_LIMIT = 204800.0
_CENTRE = BINS // 2
_LEVELS = 255
_SMOOTHING = 1e-4


class SignedHistogram:
    """Counts of x in 4001 equal bins over [-limit, limit], limit = min(amax, 204800).

    A bin holds its lower edge, the last bin both edges. Larger magnitudes, NaN and Inf are not counted.
    The counts do not depend on how the values are split into calls, nor on their order.

    Args:
        amax: the tensor's largest magnitude over all of the data, from a first pass.
    """

    def __init__(self, amax: float) -> None:
        if not 0 <= amax < math.inf:
            raise StatisticsError(
                f"a signed histogram cannot span ±{amax}", fix="leave NaN and Inf out of amax"
            )
        self.limit = min(float(amax), LARGEST_LIMIT)
        self.counts = np.zeros(BINS, dtype=np.int64)

    @property
    def edges(self) -> np.ndarray:
        """float64[4002]: bin k lies between edges k and k + 1."""
        return np.linspace(-self.limit, self.limit, BINS + 1)

    def add(self, values: np.ndarray) -> None:
        """Counts an array of any shape and float dtype."""
        flat = np.asarray(values).reshape(-1)
        if self.limit > 0 and flat.size:
            wide = flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float32)
            _count(self.counts, self.edges, np.ascontiguousarray(wide))

    def merge(self, other: SignedHistogram) -> None:
        """Adds the counts of another part of the same data.

        Raises:
            StatisticsError: when the other one has another range.
        """
        if other.limit != self.limit:
            raise StatisticsError(
                f"signed histograms over ±{self.limit} and ±{other.limit} do not add up",
                fix="collect both over the largest magnitude of all of the data",
            )
        self.counts += other.counts


def solve(histogram: SignedHistogram) -> float:
    """The threshold with the smallest smoothed divergence, the first one among equals.

    For each i from 127 to 2000, P is the slice of i bins on either side of the centre bin (taken as empty)
    with the outliers of each side added to its end bin. Q is the slice without outliers and without its
    first bin, merged into 255 groups of (2i + 1) // 255 bins, the remainder in the last one, and spread
    evenly over the bins where P is not zero. In each, zeros become 1e-4, taken evenly from the others.
    The threshold is the right edge of the slice with the smallest KL(P || Q).

    Returns:
        The threshold; 0.0 for an all-zero tensor, the limit where the centre bin holds all values.
    """
    if histogram.limit == 0:
        return 0.0
    counts = histogram.counts.copy()
    counts[_CENTRE] = 0
    if not counts.any():
        return histogram.limit
    return float(histogram.edges[_CENTRE + 1 + int(_search(counts, np.empty(BINS), np.empty(BINS)))])


@compiled
def _count(counts: Any, edges: Any, values: Any) -> Any:
    lowest, highest = edges[0], edges[-1]
    step = BINS / (highest - lowest)
    for k in range(values.size):
        x = np.float64(values[k])
        if lowest <= x <= highest:
            j = min(int((x - lowest) * step), BINS - 1)
            # The product may be off by one bin next to an edge; the edges decide.
            if x < edges[j]:
                j -= 1
            elif x >= edges[j + 1] and j < BINS - 1:
                j += 1
            counts[j] += 1


@compiled
def _search(counts: Any, p: Any, q: Any) -> Any:
    best, lowest = _LEVELS // 2, np.inf
    for i in range(_LEVELS // 2, _CENTRE + 1):
        size = 2 * i + 1
        _distributions(counts, i, p, q)
        if _smooth(p[:size]) and _smooth(q[:size]):
            divergence = _divergence(p[:size], q[:size])
            if divergence < lowest:
                best, lowest = i, divergence
    return best


@part
def _distributions(counts: Any, i: Any, p: Any, q: Any) -> Any:
    size = 2 * i + 1
    start = _CENTRE - i
    for j in range(size):
        p[j] = counts[start + j]
        q[j] = 0.0
    p[0] += counts[:start].sum()
    p[size - 1] += counts[start + size :].sum()
    width = size // _LEVELS
    for level in range(_LEVELS):
        begin = level * width
        end = size if level == _LEVELS - 1 else begin + width
        inside, spread = 0, 0
        for j in range(begin, end):
            inside += counts[start + j] if j > 0 else 0
            spread += p[j] > 0
        for j in range(begin, end):
            if p[j] > 0:
                q[j] = inside / spread


@part
def _smooth(values: Any) -> Any:
    # In place; False where there is nothing to take from.
    zeros = 0
    for value in values:
        zeros += value == 0
    if zeros == values.size:
        return False
    taken = _SMOOTHING * zeros / (values.size - zeros)
    for j in range(values.size):
        values[j] = _SMOOTHING if values[j] == 0 else values[j] - taken
    return True


@part
def _divergence(p: Any, q: Any) -> Any:
    # KL of the pair, each divided by its sum: sum p log(p / q) / sum p + log(sum q / sum p).
    result, sum_p, sum_q = 0.0, 0.0, 0.0
    for j in range(p.size):
        if q[j] <= 0:
            return np.inf
        # zeros of both, smoothed alike, add nothing
        if p[j] != q[j]:
            result += p[j] * math.log(p[j] / q[j])
        sum_p += p[j]
        sum_q += q[j]
    return result / sum_p + math.log(sum_q / sum_p)
