"""Counting float64 values, which keep their precision: with NumPy, for there are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx_trtcal.stats.bins import Bins

__all__ = ["count_doubles"]

PIECE = 1 << 16  # values counted at a time


def count_doubles(bins: Bins, values: np.ndarray) -> tuple[float, int, int, int]:
    """Adds float64 values to bins of the rule `stable`.

    Returns:
        The largest finite magnitude, 0.0 for none; how many are NaN, how many +-Inf, and how many finite.
    """
    flat = values.ravel(order="K")
    top, nan, inf, finite = 0.0, 0, 0, 0
    for begin in range(0, flat.size, PIECE):
        piece = np.abs(flat[begin : begin + PIECE])
        kept = piece[np.isfinite(piece)]
        positive = kept[kept > 0]
        nans = int(np.isnan(piece).sum())
        nan += nans
        inf += piece.size - kept.size - nans
        finite += kept.size
        if positive.size:
            top = max(top, float(positive.max()))
            bins.reach(top)
            # A quotient that underflows to zero still belongs to the first bin.
            places = np.maximum(np.ceil(positive / bins.width).astype(np.int64) - 1, 0)
            bins.store(bins.counts + np.bincount(places, minlength=bins.size), bins.cells.dtype)
    return top, nan, inf, finite
