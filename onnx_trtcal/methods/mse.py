"""The threshold with the smallest mean squared quantization error, exact for the histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.scales import QUANTIZED_MAX
from onnx_trtcal.support.jit import compiled, part

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["candidates", "solve"]

LEVELS = QUANTIZED_MAX

# Between two candidates the topmost level moves by a quarter of a level, so that no alignment of levels with
# values (images have only 255 of them) is stepped over.
_STEPS_PER_OCTAVE = 352

# Bin centres say nothing about a level narrower than a bin; entropy's smallest candidate is the same.
_FEWEST_BINS = 128


def solve(histogram: Histogram) -> float:
    """The threshold T that minimises sum c * (x - s * min(round(x / s), 127))^2, s = T / 127.

    x are the bin centres of |x| and c their counts; for the topmost bin in use x is amax, which is known, and
    is all there is in it where values are constant or saturate. Zeros have no error. The best of `candidates`
    is refined to the nearest minimum over all real T, so the answer is never worse than any candidate; only
    not into the topmost bin, where nothing but amax can be told from amax.

    Returns:
        The threshold: amax, or below its bin; 0.0 for an all-zero tensor.
    """
    if histogram.amax == 0:
        return 0.0
    grid = candidates(histogram.amax / histogram.width)
    counts = histogram.used()
    best = _search(counts, grid, np.zeros(counts.size + 1, np.int64), np.zeros(counts.size + 1))
    return histogram.amax if best == grid[0] else float(best * histogram.width)


def candidates(top: float) -> np.ndarray:
    """Thresholds tried, in bins: from `top` (amax) downwards by a factor of 2^(1/352) to 128 bins.

    Returns:
        float64[n], descending; `top` alone when it is below 128 bins.
    """
    octaves = max(np.log2(top / _FEWEST_BINS), 0.0)
    steps = np.arange(int(octaves * _STEPS_PER_OCTAVE) + 1)
    return np.asarray(top * np.exp2(-steps / _STEPS_PER_OCTAVE), dtype=np.float64)


@compiled
def _search(counts: Any, grid: Any, above: Any, moment: Any) -> Any:
    # With A = sum c x q and B = sum c q^2, q the level of x, the error is  sum c x^2 - 2 s A + s^2 B,
    # and by summation by parts A and B are sums, over the 127 boundaries between levels, of what lies above
    # the boundary: 127 look-ups for a candidate, however many bins there are.
    _add_up(counts, grid[0], above, moment)
    best, error = grid[0], np.inf
    for t in grid:
        a, b = _level_sums(above, moment, t / LEVELS)
        s = t / LEVELS
        gain = s * (s * b - 2 * a)
        if gain < error:
            best, error = t, gain
    edge = counts.size - 1.0  # where the topmost bin begins
    tried = best if best <= edge else grid[0]
    # For the levels as they are, s = A / B is the best scale; for that scale, rounding is the best choice of
    # levels. Alternating the two never increases the error and stops at a minimum.
    while True:
        a, b = _level_sums(above, moment, best / LEVELS)
        if b == 0:
            break
        s = min(a / b, grid[0] / LEVELS)
        a, b = _level_sums(above, moment, s)
        gain = s * (s * b - 2 * a)
        if not gain < error:
            break
        best, error = s * LEVELS, gain
    return best if best <= edge else tried


@part
def _add_up(counts: Any, top: Any, above: Any, moment: Any) -> None:
    # What lies in a bin and above it: how many values, and the sum of their magnitudes.
    for j in range(counts.size - 1, -1, -1):
        above[j] = above[j + 1] + counts[j]
        moment[j] = moment[j + 1] + counts[j] * (j + 0.5 if j < counts.size - 1 else top)


@part
def _level_sums(above: Any, moment: Any, s: Any) -> Any:
    a, b = 0.0, 0.0
    # Every boundary is below amax, and so the topmost bin above every boundary.
    last = above.size - 2
    for q in range(1, LEVELS + 1):
        # first bin whose centre j + 0.5 reaches the boundary (q - 0.5) s
        j = min(max(int(np.ceil((q - 0.5) * s - 0.5)), 0), last)
        a += moment[j]
        b += (2 * q - 1) * above[j]
    return a, b
