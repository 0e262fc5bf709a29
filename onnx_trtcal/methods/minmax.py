"""TensorRT's MinMaxCalibration: nothing is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["solve"]


def solve(histogram: Histogram) -> float:
    """The largest magnitude seen, exactly; TensorRT writes 3c810204, 2 / 127, for a constant of 2.0."""
    return histogram.amax
