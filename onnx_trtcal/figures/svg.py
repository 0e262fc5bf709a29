"""What SVG is made of: escaped text, short numbers, elements and paths."""

from __future__ import annotations

import html
import math
import re
from typing import TYPE_CHECKING

from onnx_trtcal.support.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["element", "escaped", "number", "outline", "plain", "shown", "target", "text", "texts"]

# What XML 1.0 cannot hold, not even as a reference. `printable` leaves no controls and no lone surrogates.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def plain(words: str) -> str:
    """Any text as it is shown, with whatever neither a terminal nor XML should get escaped: names come from models."""
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(words))


def escaped(words: str) -> str:
    """Any text as the content of an element or of a quoted attribute."""
    return html.escape(plain(words))


def number(value: float) -> str:
    """A coordinate with one decimal at most."""
    rounded = f"{value:.1f}".removesuffix(".0")
    return "0" if rounded == "-0" else rounded


def shown(value: float) -> str:
    """A value in four digits, as it is printed beside a mark."""
    return f"{value:.4g}".replace("-", "−") if value < 0 else f"{value:.4g}"


def element(name: str, attributes: Mapping[str, str | float], content: str = "") -> str:
    """One element; `content` is markup, attributes are escaped."""
    inside = "".join(
        f' {key}="{escaped(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{inside}>{content}</{name}>" if content else f"<{name}{inside}/>"


def text(x: float, y: float, words: str, style: str = "", anchor: str = "") -> str:
    """One line of text, `y` at its baseline.

    Args:
        x: in user units.
        y: likewise.
        words: as they are; escaped here.
        style: class names.
        anchor: `middle` or `end`; empty for the start.
    """
    attributes: dict[str, str | float] = {"x": x, "y": y}
    if style:
        attributes["class"] = style
    if anchor:
        attributes["text-anchor"] = anchor
    return element("text", attributes, escaped(words))


def texts(places: Sequence[tuple[float, float, str]], style: str, anchor: str = "") -> str:
    """Several short texts of one style, as `text` draws each."""
    attributes: dict[str, str | float] = {"class": style}
    if anchor:
        attributes["text-anchor"] = anchor
    return element("g", attributes, "".join(text(*place) for place in places)) if places else ""


def target(key: str, href: str, hint: str, markup: str) -> str:
    """Markup that can be clicked, focused and hovered over, where it has a key or leads somewhere.

    Args:
        key: what a page's script finds in `data-key`.
        href: where a click leads without any script.
        hint: what hovering shows; becomes the element's title.
        markup: what is drawn.
    """
    content = element("title", {}, escaped(hint)) + markup
    attributes: dict[str, str | float] = {"data-key": key} if key else {}
    if href:
        return element("a", {"href": href, **attributes}, content)
    return element("g", {**attributes, "tabindex": "0"} if key else {}, content)


def outline(edges: Sequence[float], heights: Sequence[float], base: float) -> str:
    """The path of columns that stand side by side on a base line; neighbours of one height become one.

    Args:
        edges: their borders from left to right, one more than columns.
        heights: of each, upwards.
        base: y of the base line.
    """
    corners = [(edges[0], base)]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        corners += [(left, base - height), (right, base - height)]
    return _path([*corners, (edges[-1], base)])


def _path(corners: Sequence[tuple[float, float]]) -> str:
    """Horizontal and vertical strokes from corner to corner, relative to the last one as it was rounded."""
    x, y = (_tenths(value) for value in corners[0])
    parts = [f"M{number(x / 10)} {number(y / 10)}"]
    run = 0
    for corner in corners[1:]:
        across, down = (_tenths(value) for value in corner)
        run += across - x
        x = across
        if down != y:
            parts += [f"h{number(run / 10)}"] * bool(run) + [f"v{number((down - y) / 10)}"]
            run, y = 0, down
    return "".join(parts) + (f"h{number(run / 10)}" if run else "") + "z"


def _tenths(value: float) -> int:
    return round(value * 10) if math.isfinite(value) else 0
