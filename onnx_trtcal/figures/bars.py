"""Horizontal bars: which groups INT8 hurts, what it does to each block of an output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.heading import heading
from onnx_trtcal.figures.labels import shortened, text_width
from onnx_trtcal.figures.noise import decibels_text, noise_share
from onnx_trtcal.figures.svg import element, target, text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bar", "BarChart", "bar_figure", "noise_bars"]

_ROW, _BAR = 22, 12
_LABELS, _TEXTS = 0.5, 0.3  # of the width, at most


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: what it stands for.
        length: a share (0 to 1) of the longest that may be.
        text: what is written behind it.
        emphasis: whether it is the one that counts.
        muted: whether it counts for nothing.
        key: what a page finds it by.
        href: where a click leads.
    """

    label: str
    length: float
    text: str
    emphasis: bool = False
    muted: bool = False
    key: str = ""
    href: str = ""


@dataclass(frozen=True)
class BarChart:
    """Bars, from top to bottom.

    Attributes:
        title: what they show.
        bars: in order.
        note: one more line below the title.
        heading: whether title and note are drawn, or left to the page.
    """

    title: str
    bars: tuple[Bar, ...]
    note: str = ""
    heading: bool = True


def noise_bars(
    title: str, rows: Sequence[tuple[str, float]], *, muted: Sequence[int] = (), keys: Sequence[str] = ()
) -> BarChart:
    """A chart of SQNRs: a bar's length is its noise, so that the longest is the worst; the worst one is emphasised.

    Args:
        title: what they show.
        rows: label and SQNR in dB, inf and -inf among them.
        muted: positions of rows that are no verdict.
        keys: what a page finds each by; empty for none.
    """
    shares = [noise_share(sqnr) for _, sqnr in rows]
    counting = [share for at, share in enumerate(shares) if at not in set(muted)]
    longest = max(shares, default=0.0) or 1.0
    worst = max(counting, default=0.0)
    bars: list[Bar] = []
    for at, (label, sqnr) in enumerate(rows):
        still = at in set(muted)
        first = not still and 0 < worst == shares[at] and not any(each.emphasis for each in bars)
        key = keys[at] if keys else ""
        bars.append(Bar(label, shares[at] / longest, decibels_text(sqnr), first, still, key))
    return BarChart(title, tuple(bars), "SQNR; a bar is as long as the noise is large")


def bar_figure(chart: BarChart, width: int = 640) -> Figure:
    """The bars, each with its label before it and its text behind it.

    Args:
        chart: what to draw.
        width: of the figure, in user units.
    """
    head, top = heading(chart.title, chart.note, width) if chart.heading else ("", 0)
    labels = [shortened(bar.label, _LABELS * width, bold=bar.emphasis) for bar in chart.bars]
    texts = [shortened(bar.text, _TEXTS * width, bold=bar.emphasis) for bar in chart.bars]
    left = 10 + max(map(_wide, labels, chart.bars), default=0.0)
    room = width - left - 8 - max(map(_wide, texts, chart.bars), default=0.0)
    body = ""
    for at, (bar, *words) in enumerate(zip(chart.bars, labels, texts, strict=True)):
        y = top + at * _ROW + 4
        body += target(
            bar.key, bar.href, f"{bar.label}: {bar.text}", _row(bar, words, (left, room), y, width)
        )
    if not chart.bars:
        body = text(0, top + 18, "nothing to show", "d")
    height = top + _ROW * max(len(chart.bars), 1) + 6
    summary = "; ".join(f"{bar.label} {bar.text}" for bar in chart.bars[:10])
    left_out = len(chart.bars) - 10
    summary += f"; and {left_out} more" if left_out > 0 else ""
    return Figure(
        chart.title, summary, head + body, width, height, any(bar.key or bar.href for bar in chart.bars)
    )


def _wide(words: str, bar: Bar) -> float:
    return text_width(words, bold=bar.emphasis)


def _row(bar: Bar, words: Sequence[str], across: tuple[float, float], y: float, width: int) -> str:
    left, room = across
    share = min(max(bar.length, 0.0), 1.0) if math.isfinite(bar.length) else 1.0
    long = max(share * room, 1.0) if share else 0.0
    markup = ""
    if bar.key or bar.href:
        markup = element("rect", {"class": "hit", "y": y, "width": width, "height": _ROW})
    weight = "e" if bar.emphasis else "d" if bar.muted else ""
    markup += text(left - 8, y + 15, words[0], weight, "end")
    if long:
        style = "c" if bar.emphasis else "o" if bar.muted else "b"
        markup += element("rect", {"class": style, "x": left, "y": y + 5, "width": long, "height": _BAR})
    return markup + text(left + long + 6, y + 15, words[1], weight)
