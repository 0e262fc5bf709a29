"""A distribution or a series as small as a word."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.svg import element, number, outline

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["sparkline"]


def sparkline(
    heights: Sequence[float], mark: float | None = None, title: str = "", width: int = 96, height: int = 18
) -> Figure:
    """Columns side by side, and a mark.

    Args:
        heights: of each column, as a share (0 to 1) of the tallest that may be; `Columns.heights` of a histogram.
        mark: where a threshold is, as a share (0 to 1) of the width; None for none.
        title: what it shows.
        width: in user units.
        height: likewise.
    """
    base = height - 1
    count = max(len(heights), 1)
    edges = [width * at / count for at in range(count + 1)]
    tall = [float(round(min(max(each, 0.0), 1.0) * base)) if math.isfinite(each) else 0.0 for each in heights]
    floor = element("path", {"class": "g", "d": f"M0 {base + 0.5}H{width}"})
    body = floor
    if any(tall):
        body += element("path", {"class": "b", "d": outline(edges, tall, base)})
    if mark is not None and 0 <= mark <= 1:
        x = min(max(mark * width, 1.0), width - 1.0)
        body += element("path", {"class": "m", "d": f"M{number(x)} 0V{height}"})
    return Figure(title or "Sparkline", "", body, width, height)
