"""A network from its inputs to its outputs: where error appears and grows, what runs in INT8, and what hurts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.heading import heading
from onnx_trtcal.figures.labels import Flag, place_flags, shortened, text_width
from onnx_trtcal.figures.noise import decibels_text, noise_share
from onnx_trtcal.figures.svg import element, number, target, text, texts
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Network", "NetworkPoint", "network_figure"]

Kind = Literal["int8", "float", "other"]

_LEFT, _RIGHT, _PLOT, _STRIP, _BARS, _ROW = 46, 14, 170, 10, 46, 15
_WORDS: dict[Kind, tuple[str, str]] = {
    "int8": ("INT8", "b"),
    "float": ("float", "f"),
    "other": ("other", "o"),
}
_MOST_DROPS = 3
_LEAST_DROP = 1.0  # dB
_MOST_DOTS = 160  # points; more of them are a line only
_LONGEST = 0.3  # of the width, of a label
_WIDEST = 24.0  # user units of a bar
_LOWEST, _HIGHEST = -10.0, 80.0  # dB: what is beyond is drawn at the border


@dataclass(frozen=True)
class NetworkPoint:
    """A tensor or a group.

    Attributes:
        name: its name.
        sqnr: of INT8 against FP32 there, in dB; inf where nothing differs, None where nothing was compared.
        kind: how what makes it runs: in INT8, in floating point, or neither is known or matters.
        lost: dB lost since what it is computed from.
        sensitivity: SQNR of the worst block of the outputs with this group alone in INT8, in dB; None if not known.
        key: what a page finds it by.
        href: where a click leads.
    """

    name: str
    sqnr: float | None
    kind: Kind = "other"
    lost: float = 0.0
    sensitivity: float | None = None
    key: str = ""
    href: str = ""

    @property
    def hint(self) -> str:
        """What hovering shows."""
        parts = [f"{self.name}: {decibels_text(self.sqnr)}"]
        parts += [] if self.kind == "other" else [_WORDS[self.kind][0]]
        parts += [f"{self.lost:.1f} dB lost here"] if self.lost >= _LEAST_DROP else []
        parts += [] if self.sensitivity is None else [f"alone in INT8 {decibels_text(self.sensitivity)}"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Network:
    """A network.

    Attributes:
        points: in graph order.
        title: what is drawn above it.
        heading: whether the title is drawn, or left to the page.
        measure: what the line shows.
    """

    points: tuple[NetworkPoint, ...]
    title: str = "Error over depth"
    heading: bool = True
    measure: str = "SQNR in dB"


def network_figure(network: Network, width: int = 960) -> Figure:
    """SQNR as a line over depth, a strip of what runs in INT8 below it, and sensitivity as bars below that.

    All three share the horizontal axis. Where the most is lost is labelled. Bars are drawn where a point has a
    sensitivity.

    Args:
        network: what to draw.
        width: of the figure, in user units.
    """
    points = network.points
    head, top = heading(network.title, "", width) if network.heading else ("", 4)
    if not points:
        return Figure(network.title, "", head + text(0, top + 18, "nothing to show", "d"), width, top + 28)
    legend, top = _legend(points, top)
    frame = _Frame.around(points, width)
    labels, ceiling = _drops(points, frame, top)
    frame = frame.moved(ceiling)
    strip = frame.base + 8
    sensitivity, bottom = _bars(points, frame, strip + _STRIP + 12)
    body = _grid(frame) + _line(points, frame) + _cells(points, frame, strip) + sensitivity
    body += _lead(labels, frame) + _hits(points, frame, bottom)
    body += text(
        _LEFT,
        bottom + 16,
        f"{network.measure}; {many(len(points), 'tensor')} from the inputs to the outputs →",
        "d",
    )
    clicked = any(point.key or point.href for point in points)
    return Figure(network.title, _in_words(points), head + legend + body, width, bottom + 22, clicked)


@dataclass(frozen=True)
class _Frame:
    """Where points are: x by position, y by SQNR."""

    right: int
    step: float
    low: int
    high: int
    exact: bool
    ceiling: int = 0

    @classmethod
    def around(cls, points: Sequence[NetworkPoint], width: int) -> _Frame:
        right = width - _RIGHT
        known = [each.sqnr for each in points if each.sqnr is not None and math.isfinite(each.sqnr)]
        values = [min(max(sqnr, _LOWEST), _HIGHEST) for sqnr in known]
        low = 10 * math.floor(min([*values, 10.0]) / 10)
        high = 10 * math.ceil(max([*values, 40.0]) / 10)
        exact = any(each.sqnr == math.inf for each in points)
        return cls(right, (right - _LEFT) / len(points), low, high, exact)

    def moved(self, ceiling: int) -> _Frame:
        return replace(self, ceiling=ceiling)

    @property
    def base(self) -> int:
        return self.ceiling + _PLOT

    def x(self, at: int) -> float:
        return _LEFT + (at + 0.5) * self.step

    def y(self, sqnr: float) -> float:
        # What is exact has a line of its own, above the scale.
        top = self.high + 10 * self.exact
        value = top if sqnr == math.inf else min(max(sqnr, self.low), self.high)
        return self.base - (value - self.low) / (top - self.low) * _PLOT


@dataclass(frozen=True)
class _Label:
    at: int
    sqnr: float
    y: float
    words: str
    leftwards: bool


def _drops(points: Sequence[NetworkPoint], frame: _Frame, top: int) -> tuple[list[_Label], int]:
    """The labels of the points where most is lost, and where the plot begins below them."""
    order = sorted(range(len(points)), key=lambda at: (-points[at].lost, at))[:_MOST_DROPS]
    marked = sorted(at for at in order if points[at].lost >= _LEAST_DROP)
    words = [
        f"−{points[at].lost:.1f} dB {shortened(points[at].name, _LONGEST * frame.right)}" for at in marked
    ]
    flags = [Flag(frame.x(at), text_width(each)) for at, each in zip(marked, words, strict=True)]
    places = place_flags(flags, _LEFT, frame.right).places
    rows = 1 + max((place.row for place in places), default=-1)
    ceiling = top + _ROW * rows + 6
    labels = [
        _Label(at, points[at].sqnr or 0.0, ceiling - 6 - _ROW * place.row, each, place.leftwards)
        for at, each, place in zip(marked, words, places, strict=True)
    ]
    return labels, ceiling


def _lead(labels: Sequence[_Label], frame: _Frame) -> str:
    markup = ""
    for label in labels:
        x = frame.x(label.at)
        path = f"M{number(x)} {number(label.y - 9)}V{number(frame.y(label.sqnr))}"
        markup += element("path", {"class": "w", "data-mark": "drop", "d": path})
        gap = -4 if label.leftwards else 4
        markup += text(x + gap, label.y, label.words, "", "end" if label.leftwards else "")
    return markup


def _grid(frame: _Frame) -> str:
    step = 20 if frame.high - frame.low > 60 else 10
    grid, left = "", []
    for value in range(frame.low, frame.high + 1, 10):
        if value % step and value != 10:
            continue  # 10 dB is always there: below it hardly anything is left
        grid += f"M{_LEFT} {number(frame.y(value))}H{frame.right}"
        left.append((_LEFT - 6, frame.y(value) + 4, f"{value}"))
    if frame.exact:
        grid += f"M{_LEFT} {number(frame.y(math.inf))}H{frame.right}"
        left.append((_LEFT - 6, frame.y(math.inf) + 4, "exact"))
    return element("path", {"class": "g", "d": grid}) + texts(left, "d", "end")


def _line(points: Sequence[NetworkPoint], frame: _Frame) -> str:
    path, drawn = "", False
    dots: dict[Kind, str] = {}
    for at, point in enumerate(points):
        if point.sqnr is None or math.isnan(point.sqnr):
            drawn = False
            continue
        x, y = number(frame.x(at)), number(frame.y(point.sqnr))
        path += f"{'L' if drawn else 'M'}{x} {y}"
        drawn = True
        if len(points) <= _MOST_DOTS:
            dots[point.kind] = dots.get(point.kind, "") + f"M{x} {y}h0"
    markup = element("path", {"class": "s", "d": path}) if path else ""
    for kind, each in dots.items():
        markup += element("path", {"class": f"p p{_WORDS[kind][1]}", "d": each})
    return markup


def _cells(points: Sequence[NetworkPoint], frame: _Frame, y: float) -> str:
    """The strip: one path for each kind, neighbours of one kind in one stroke."""
    paths: dict[Kind, str] = {}
    start = 0
    for at in range(1, len(points) + 1):
        if at < len(points) and points[at].kind == points[start].kind:
            continue
        left, right = _LEFT + start * frame.step, _LEFT + at * frame.step
        gap = min(frame.step * 0.12, 1.0)
        wide = number(right - left - gap)
        kind = points[start].kind
        paths[kind] = paths.get(kind, "") + f"M{number(left)} {number(y)}h{wide}v{_STRIP}h-{wide}z"
        start = at
    return "".join(
        element("path", {"class": _WORDS[kind][1], "data-mark": kind, "d": path})
        for kind, path in paths.items()
    )


def _bars(points: Sequence[NetworkPoint], frame: _Frame, top: float) -> tuple[str, int]:
    """Sensitivity, and where the picture ends below it."""
    known = [noise_share(point.sensitivity) for point in points if point.sensitivity is not None]
    if not known:
        return "", int(top) - 6
    longest = max(known) or 1.0
    base = int(top) + 14 + _BARS
    wide = min(max(frame.step * 0.7, 1.0), _WIDEST)
    paths = {"b": "", "c": ""}
    for at, point in enumerate(points):
        share = noise_share(point.sensitivity)
        if point.sensitivity is None or not share:
            continue
        tall = max(share / longest * _BARS, 1.0)
        style = "c" if share == longest else "b"
        paths[style] += (
            f"M{number(frame.x(at) - wide / 2)} {base}v-{number(tall)}h{number(wide)}v{number(tall)}z"
        )
    markup = text(_LEFT, top + 8, "sensitivity: noise in the outputs with this group alone in INT8", "d")
    markup += element("path", {"class": "x", "d": f"M{_LEFT} {base}H{frame.right}"})
    markup += "".join(
        element("path", {"class": style, "data-mark": "sensitivity", "d": path})
        for style, path in paths.items()
        if path
    )
    return markup, base


def _hits(points: Sequence[NetworkPoint], frame: _Frame, bottom: int) -> str:
    """What reacts to the pointer: a column over the whole height for each point."""
    markup = ""
    for at, point in enumerate(points):
        if not (point.key or point.href):
            continue
        area: dict[str, str | float] = {
            "class": "hit",
            "x": _LEFT + at * frame.step,
            "y": float(frame.ceiling),
            "width": frame.step,
            "height": float(bottom - frame.ceiling),
        }
        markup += target(point.key, point.href, point.hint, element("rect", area))
    return markup


def _legend(points: Sequence[NetworkPoint], top: int) -> tuple[str, int]:
    counts = {kind: sum(point.kind == kind for point in points) for kind in _WORDS}
    if counts["other"] == len(points):
        return "", top
    markup, x = "", 0.0
    for kind, count in counts.items():
        if count:
            words, style = f"{_WORDS[kind][0]} {count}", _WORDS[kind][1]
            markup += element("rect", {"class": style, "x": x, "y": top + 3, "width": 10, "height": 10})
            markup += text(x + 15, top + 12, words, "d")
            x += 15 + text_width(words) + 16
    return markup, top + 20


def _in_words(points: Sequence[NetworkPoint]) -> str:
    compared = [point for point in points if point.sqnr is not None and not math.isnan(point.sqnr)]
    parts = [f"SQNR of {len(compared)} of {len(points)} tensors, from the inputs to the outputs"]
    if compared:
        lowest = min(compared, key=lambda point: point.sqnr or 0.0)
        parts.append(f"lowest in {lowest.name}: {decibels_text(lowest.sqnr)}")
    drop = max(points, key=lambda point: point.lost)
    if drop.lost >= _LEAST_DROP:
        parts.append(f"largest loss in {drop.name}: {drop.lost:.1f} dB")
    return "; ".join(parts)
