"""Vertical lines that mark values on an axis, each with its label above the plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.figures.labels import Flag, Layout, Place, place_flags, text_width
from onnx_trtcal.figures.svg import element, escaped, number, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Leader", "draw_flags"]

_ROW, _GAP = 15, 4
_SAME = 1.0  # leaders that are nearer to each other share a label
# Of the plot's width: what a label of several names may take up, and less where the flags do not fit then.
_LONGEST = (0.45, 0.3, 0.0)


@dataclass(frozen=True)
class Leader:
    """A marked value.

    Attributes:
        x: where it is drawn.
        label: what it is called.
        value: what it is.
        style: `m` for the one that counts, `l` for others, `a` for amax.
        outside: whether the value is beyond the border that it is drawn at.
    """

    x: float
    label: str
    value: float
    style: str
    outside: bool = False


def draw_flags(leaders: Sequence[Leader], top: int, plot: int, sides: tuple[int, int]) -> tuple[str, int]:
    """Draws lines over a plot, and their labels above it.

    Args:
        leaders: in any order.
        top: where the labels may begin.
        plot: the height of the plot.
        sides: its borders on the left and on the right.

    Returns:
        The markup, and y of the plot's base line.
    """
    groups, places = _arranged(leaders, *sides)
    rows = 1 + max((place.row for place in places), default=0)
    ceiling = top + _ROW * rows + 5
    base = ceiling + plot
    lines, labels = [], ""
    for group, place in zip(groups, places, strict=True):
        y = ceiling - 5 - _ROW * place.row
        lines += [(each, y - 9) for each in group]
        labels += _label(group, y, leftwards=place.leftwards)
    # The line that counts is drawn last, over the others.
    lines.sort(key=lambda line: line[0].style == "m")
    return "".join(_line(each, y, base) for each, y in lines) + labels, base


def _arranged(leaders: Sequence[Leader], left: int, right: int) -> tuple[list[list[Leader]], list[Place]]:
    """Leaders that share a label, and where each label goes: the longest labels that fit."""
    best: tuple[list[list[Leader]], Layout] | None = None
    for longest in _LONGEST:
        groups = _groups(leaders, longest * (right - left))
        layout = place_flags([Flag(group[0].x, _width(group)) for group in groups], left, right)
        if best is None or layout.excess < best[1].excess:
            best = groups, layout
        if not layout.excess:
            break
    assert best is not None
    return best[0], best[1].places


def _line(leader: Leader, y: float, base: int) -> str:
    attributes: dict[str, str | float] = {"class": leader.style, "data-mark": leader.label}
    attributes["d"] = f"M{number(leader.x)} {number(y)}V{base}"
    hint = f"{leader.label} {shown(leader.value)}"
    return element("path", attributes, element("title", {}, escaped(hint)))


def _label(group: Sequence[Leader], y: float, *, leftwards: bool) -> str:
    attributes: dict[str, str | float] = {"x": group[0].x + (-_GAP if leftwards else _GAP), "y": y}
    if leftwards:
        attributes["text-anchor"] = "end"
    if all(each.style != "m" for each in group):
        return element("text", {**attributes, "class": "d"}, escaped(_words(group)))
    if len(group) == 1:
        return element("text", {**attributes, "class": "e"}, escaped(_words(group)))
    parts = [
        element("tspan", {"class": "e"}, escaped(_word(each))) if each.style == "m" else escaped(_word(each))
        for each in group
    ]
    return element("text", attributes, ", ".join(parts))


def _groups(leaders: Sequence[Leader], widest: float) -> list[list[Leader]]:
    """Leaders that share a label, from left to right."""
    groups: list[list[Leader]] = []
    for leader in sorted(
        leaders, key=lambda each: (each.x, each.style == "a", each.style != "m", each.label)
    ):
        last = groups[-1] if groups else []
        near = last and leader.x - last[0].x < _SAME and leader.outside == last[0].outside
        if near and _width([*last, leader]) <= widest:
            last.append(leader)
        else:
            groups.append([leader])
    return groups


def _width(group: Sequence[Leader]) -> float:
    return text_width(_words(group), bold=any(each.style == "m" for each in group))


def _words(group: Sequence[Leader]) -> str:
    return ", ".join(map(_word, group))


def _word(leader: Leader) -> str:
    # Those that count are named with their value; where others are is seen.
    if leader.outside:
        return f"{leader.label} {shown(leader.value)} →"
    return f"{leader.label} {shown(leader.value)}" if leader.style in "ma" else leader.label
