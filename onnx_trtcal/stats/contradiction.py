"""Whether the numbers of a histogram belong together, as those that were counted do.

A statistics file may be of somebody else's making. What solves a histogram divides by the width of its bins and takes
amax for the topmost bin in use, so that numbers that no values have must not get that far.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.stats.bins import COARSE_BINS, LEAST_EXPONENT, STABLE_BINS

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["contradiction"]

_MOST_VALUES = 2.0**62
# Of the narrowest and the widest bins: the least range and float64's, float32's smallest and largest number.
_WIDTHS = {
    "stable": (2.0**LEAST_EXPONENT / STABLE_BINS, 2.0**1009),
    "tensorrt": (2.0**-149 / COARSE_BINS, 2.0**129 / COARSE_BINS),
}


def contradiction(histogram: Histogram) -> str:
    """What of a histogram cannot be, to be put behind the tensor's name; empty when all of it can.

    The range may be wider than amax asks for: a part of a run begins with the range of the whole.
    """
    counts, zeros = histogram.counts, histogram.zeros
    many = counts.sum(dtype=np.float64) >= _MOST_VALUES  # more than the sum of whole numbers could hold
    if many or int(counts.sum()) + zeros != histogram.total:
        return "does not have as many values as it says"
    amax, width = histogram.amax, histogram.width
    if width and not _is_width(width, histogram.rule):
        return f"has bins of a width that no range has: {width!r}"
    used = np.flatnonzero(counts)
    if not used.size:
        return f"has no value of the magnitude {amax!r}" if amax else ""
    if not 0 < amax <= histogram.range:
        return f"has a largest magnitude of {amax!r}, and its bins reach to {histogram.range!r}"
    top = math.ceil(amax / width) - 1 if histogram.rule == "stable" else math.floor(amax / width)
    # Quotients in float32, and the closed end of the last bin, may move TensorRT's by one.
    if abs(max(top, 0) - int(used[-1])) > (histogram.rule == "tensorrt"):
        return f"has a largest magnitude of {amax!r}, which is not in the topmost bin in use"
    return ""


def _is_width(width: float, rule: str) -> bool:
    least, most = _WIDTHS[rule]
    return least <= width <= most and (rule == "tensorrt" or math.frexp(width)[0] == 0.5)
