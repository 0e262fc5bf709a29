"""How the magnitudes of a tensor are distributed, and what each threshold keeps of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.figures.axis import count_ticks, short_count, ticks
from onnx_trtcal.figures.columns import Columns, columns, log_share
from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.flags import Leader, draw_flags
from onnx_trtcal.figures.heading import heading
from onnx_trtcal.figures.svg import element, number, outline, shown, text, texts

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Distribution", "Mark", "distribution_figure"]

_LEFT, _RIGHT, _PLOT, _FOOT = 46, 18, 140, 22
_COLUMN = 4  # width in user units
_FARTHEST = (
    1.5  # a threshold beyond that many times amax is marked at the border: it would squeeze everything else
)


@dataclass(frozen=True)
class Mark:
    """A threshold.

    Attributes:
        label: what it is called, a method as a rule.
        value: in the tensor's units.
        chosen: whether it is the one in use: drawn bold, what is beyond it coloured as clipped.
    """

    label: str
    value: float
    chosen: bool = False


@dataclass(frozen=True)
class Distribution:
    """The magnitudes of one tensor.

    Attributes:
        name: the tensor.
        counts: int64[bins] of |x| over equal bins that begin at 0; zeros are not counted in it.
        bin_width: of these bins, in units of x; 0.0 where there is no value but zero.
        amax: the largest magnitude seen.
        marks: the thresholds, in any order.
        zeros, nan, inf: how many values are zero, NaN, infinite.
        note: one more line below the name.
        heading: whether name and note are drawn, or left to the page.
    """

    name: str
    counts: np.ndarray
    bin_width: float
    amax: float
    marks: tuple[Mark, ...] = ()
    zeros: int = 0
    nan: int = 0
    inf: int = 0
    note: str = ""
    heading: bool = True

    @property
    def chosen(self) -> Mark | None:
        """The threshold in use, if one is marked."""
        return next((mark for mark in self.marks if mark.chosen), None)

    @property
    def end(self) -> float:
        """Where the picture ends: at amax, or at a threshold that is not far beyond."""
        near = [mark.value for mark in self.marks if mark.value <= _FARTHEST * self.amax]
        return max([self.amax, *near])


def distribution_figure(distribution: Distribution, width: int = 640) -> Figure:
    """The histogram with logarithmic counts; amax and every threshold marked, the chosen one bold.

    Args:
        distribution: what to draw.
        width: of the figure, in user units.
    """
    head, top = heading(distribution.name, distribution.note, width) if distribution.heading else ("", 0)
    right = width - _RIGHT
    count = max((right - _LEFT) // _COLUMN, 1)
    right = _LEFT + count * _COLUMN
    found = columns(distribution.counts, distribution.bin_width, distribution.end, count)
    if not found.end:
        body, height = _nothing(distribution, top, right)
    else:
        flags, base = draw_flags(_leaders(distribution, found, right), top, _PLOT, (_LEFT, right))
        body = _axes(found, base, right) + _filled(distribution, found, base, right) + flags
        height = base + _FOOT
    return Figure(f"Distribution of {distribution.name}", _in_words(distribution), head + body, width, height)


def _filled(distribution: Distribution, found: Columns, base: int, right: int) -> str:
    """The columns, those beyond the chosen threshold in another colour."""
    edges = [float(_LEFT + at * _COLUMN) for at in range(len(found.counts) + 1)]
    heights = [float(round(share * _PLOT)) for share in found.heights]
    chosen = distribution.chosen
    cut = min(_x(chosen.value, found, right), right) if chosen else float(right)
    at = min(int((cut - _LEFT) / _COLUMN), len(heights))
    kept, beyond = [*edges[: at + 1]], [cut, *edges[at + 1 :]]
    paths = ""
    if cut > edges[at]:
        kept.append(cut)
    if any(heights[: len(kept) - 1]):
        paths += element("path", {"class": "b", "d": outline(kept, heights[: len(kept) - 1], base)})
    if len(beyond) > 1 and any(heights[at:]):
        paths += element("path", {"class": "c", "d": outline(beyond, heights[at:], base)})
    return paths


def _axes(found: Columns, base: int, right: int) -> str:
    top = max(found.counts)
    grid, floor = "", f"M{_LEFT} {base}H{right}"
    left, below = [], []
    for count in count_ticks(top):
        y = base - log_share(count, top) * _PLOT
        grid += f"M{_LEFT} {number(y)}H{right}"
        left.append((_LEFT - 6, y + 4, short_count(count)))
    for value in ticks(0, found.end):
        x = _x(value, found, right)
        floor += f"M{number(x)} {base}v4"
        below.append((x, base + 17, shown(value)))
    lines = element("path", {"class": "g", "d": grid}) + element("path", {"class": "x", "d": floor})
    labels = texts(left, "d", "end") + texts(below, "d", "middle")
    return lines + labels + text(0, base - _PLOT - 10, "values", "d")


def _leaders(distribution: Distribution, found: Columns, right: int) -> list[Leader]:
    leaders = [Leader(_x(distribution.amax, found, right), "amax", distribution.amax, "a")]
    for mark in distribution.marks:
        x = _x(mark.value, found, right)
        leaders.append(Leader(min(x, right), mark.label, mark.value, "m" if mark.chosen else "l", x > right))
    return leaders


def _x(value: float, found: Columns, right: int) -> float:
    share = value / found.end if math.isfinite(value) else 2.0
    return _LEFT + min(max(share, 0.0), 2.0) * (right - _LEFT)


def _nothing(distribution: Distribution, top: int, right: int) -> tuple[str, int]:
    """What is drawn where there is no magnitude to draw."""
    base = top + 48
    middle = (_LEFT + right) / 2
    words = text(middle, base - 18, _why_nothing(distribution), "d", "middle")
    return words + element("path", {"class": "x", "d": f"M{_LEFT} {base}H{right}"}), base + 8


def _why_nothing(distribution: Distribution) -> str:
    if distribution.zeros:
        return f"only zeros were seen: {distribution.zeros:,}"
    if distribution.nan or distribution.inf:
        return f"no finite value was seen: {distribution.nan:,} NaN, {distribution.inf:,} infinite"
    return "no value was seen in any sample"


def _in_words(distribution: Distribution) -> str:
    if not (distribution.amax > 0 and distribution.bin_width > 0):
        return _why_nothing(distribution)
    parts = [f"Histogram of magnitudes, counts on a logarithmic scale; largest {shown(distribution.amax)}"]
    if distribution.marks:
        marked = [
            f"{mark.label} {shown(mark.value)}{' (chosen)' if mark.chosen else ''}"
            for mark in distribution.marks
        ]
        parts.append(f"thresholds: {', '.join(marked)}")
    others = {"zeros": distribution.zeros, "NaN": distribution.nan, "infinite": distribution.inf}
    parts += [f"{count:,} {name}" for name, count in others.items() if count]
    return "; ".join(parts)
