"""The range of a weight in each of its output channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnx_trtcal.figures.axis import ticks
from onnx_trtcal.figures.figure import Figure
from onnx_trtcal.figures.heading import heading
from onnx_trtcal.figures.svg import element, number, shown, text, texts

__all__ = ["WeightRanges", "weight_ranges", "weight_ranges_figure"]

_LEFT, _RIGHT, _PLOT, _FOOT = 56, 18, 130, 38
_LEAST = 2  # user units for a channel, or for the channels that share a column
_WIDEST = 36
_MOST_NAMED = 8
_LEAST_POSITIVE = math.ulp(0.0)


@dataclass(frozen=True)
class WeightRanges:
    """The smallest and the largest value of each channel.

    Attributes:
        name: of the weight.
        least: float[channels].
        largest: float[channels].
        dead: the channels that do nothing.
        heading: whether name and note are drawn, or left to the page.
    """

    name: str
    least: np.ndarray
    largest: np.ndarray
    dead: tuple[int, ...] = ()
    heading: bool = True


def weight_ranges(
    name: str, weight: np.ndarray, axis: int, *, alive: float = _LEAST_POSITIVE, heading: bool = True
) -> WeightRanges:
    """The ranges of a weight, with the channels that do nothing.

    Args:
        name: of the weight.
        weight: of any float type.
        axis: the one that counts output channels.
        alive: a channel whose weights are all of smaller magnitude is dead; by default, one of zeros only.
        heading: whether name and note are drawn.
    """
    rows = np.moveaxis(np.asarray(weight), axis, 0)
    rows = rows.astype(np.float64).reshape(rows.shape[0], rows.size // max(rows.shape[0], 1))
    if not rows.shape[1]:
        rows = np.zeros((rows.shape[0], 1))
    dead = tuple(np.flatnonzero(np.abs(rows).max(axis=1) < alive).tolist())
    return WeightRanges(name, rows.min(axis=1), rows.max(axis=1), dead, heading)


def weight_ranges_figure(ranges: WeightRanges, width: int = 640) -> Figure:
    """A stroke from the smallest to the largest value of each channel, in order; dead channels are marked.

    Where there are more channels than room, neighbours share a stroke that spans them all.

    Args:
        ranges: what to draw.
        width: of the figure, in user units.
    """
    least, largest = (np.asarray(each, np.float64) for each in (ranges.least, ranges.largest))
    finite = np.isfinite(least) & np.isfinite(largest)
    count = least.size
    note = _note(ranges, count, int(count - finite.sum()))
    head, top = heading(ranges.name, note, width) if ranges.heading else ("", 4)
    title = f"Range of {ranges.name} in each output channel"
    if not finite.any():
        body = text(width / 2, top + 30, "no finite weight", "d", "middle")
        return Figure(title, note, head + body, width, top + 48)
    least, largest = np.where(finite, least, 0.0), np.where(finite, largest, 0.0)
    low, high = min(float(least.min()), 0.0), max(float(largest.max()), 0.0)
    high = high if high > low else 1.0
    room = width - _RIGHT - _LEFT
    bundle = max(1, -(-count * _LEAST // room))
    step = min(room / -(-count // bundle), float(_WIDEST))
    right = _LEFT + step * -(-count // bundle)
    base = top + _PLOT + 8
    scale = _Scale(low, high, base)
    body = _axes(scale, (right, base), count, bundle, step)
    body += _strokes(least, largest, bundle, step, scale) + _dead(ranges.dead, bundle, step, base)
    return Figure(title, note, head + body, width, base + _FOOT)


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    base: float

    def y(self, value: float) -> float:
        # Halved, since the ends may be the largest floats of either sign.
        return self.base - (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2) * _PLOT


def _strokes(least: np.ndarray, largest: np.ndarray, bundle: int, step: float, scale: _Scale) -> str:
    starts = np.arange(0, least.size, bundle)
    lows, highs = np.minimum.reduceat(least, starts), np.maximum.reduceat(largest, starts)
    strokes = ""
    for at, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        y = scale.y(high)
        # A channel of one value still shows.
        strokes += f"M{number(_LEFT + (at + 0.5) * step)} {number(y)}v{number(max(scale.y(low) - y, 1))}"
    wide = max(step * 0.72, 1) if step >= _LEAST else step
    return element("path", {"class": "r", "stroke-width": wide, "d": strokes})


def _dead(dead: tuple[int, ...], bundle: int, step: float, base: float) -> str:
    at = sorted({channel // bundle for channel in dead})
    if not at:
        return ""
    crosses = "".join(f"M{number(_LEFT + (each + 0.5) * step - 3)} {number(base + 3)}h6l-3 5z" for each in at)
    return element("path", {"class": "c", "data-mark": "dead", "d": crosses})


def _axes(scale: _Scale, corner: tuple[float, float], count: int, bundle: int, step: float) -> str:
    right, base = corner
    grid, left = "", []
    for value in ticks(scale.low, scale.high, 5):
        y = scale.y(value)
        grid += f"M{_LEFT} {number(y)}H{number(right)}"
        left.append((_LEFT - 6, y + 4, shown(value)))
    floor = f"M{_LEFT} {number(scale.y(0.0))}H{number(right)}"
    every = [each for each in ticks(0, max(count - 1, 1), 8) if each == int(each) and each < count]
    below = [(_LEFT + (each // bundle + 0.5) * step, base + 20, f"{each:.0f}") for each in every]
    lines = element("path", {"class": "g", "d": grid}) if grid else ""
    lines += element("path", {"class": "x", "d": floor})
    unit = "output channel" if bundle == 1 else f"output channel ({bundle} to a stroke)"
    labels = texts(left, "d", "end") + texts(below, "d", "middle")
    return lines + labels + text(_LEFT, base + 34, unit, "d")


def _note(ranges: WeightRanges, count: int, nonfinite: int) -> str:
    parts = [f"{count} output channels"]
    sizes = np.maximum(np.abs(ranges.least), np.abs(ranges.largest))
    alive = sizes[np.isfinite(sizes) & (sizes > 0)]
    if alive.size:
        apart = float(alive.max()) / float(alive.min())
        parts.append(f"largest |w| from {shown(float(alive.min()))} to {shown(float(alive.max()))}")
        parts[-1] += f", {apart:.3g} times apart" if math.isfinite(apart) and apart >= 2 else ""
    if ranges.dead:
        named = ", ".join(map(str, ranges.dead[:_MOST_NAMED]))
        more = f" and {len(ranges.dead) - _MOST_NAMED} more" if len(ranges.dead) > _MOST_NAMED else ""
        parts.append(f"{len(ranges.dead)} dead: {named}{more}")
    if nonfinite:
        parts.append(f"{nonfinite} not finite")
    return "; ".join(parts)
