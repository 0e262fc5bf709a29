"""Reads figures back: what stands where."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.figures.labels import text_width

if TYPE_CHECKING:
    from collections.abc import Iterator

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Words:
    """A text element: where it begins or ends, and how much room it takes."""

    text: str
    x: float
    y: float
    anchor: str
    style: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        width = text_width(self.text, bold="e" in self.style.split())
        left = self.x - {"end": width, "middle": width / 2}.get(self.anchor, 0)
        return left, self.y - 9, left + width, self.y + 2


def parse(markup: str) -> ET.Element:
    return ET.fromstring(markup)


def texts(root: ET.Element) -> list[Words]:
    """Every text, with what it inherits from its group."""
    return list(_texts(root, "", ""))


def _texts(element: ET.Element, anchor: str, style: str) -> Iterator[Words]:
    anchor = element.get("text-anchor", anchor)
    style = element.get("class", style)
    if element.tag.removeprefix(SVG) == "text":
        if any("e" in (part.get("class") or "").split() for part in element):
            style = "e"
        yield Words(
            "".join(element.itertext()), float(element.get("x")), float(element.get("y")), anchor, style
        )
    for child in element:
        yield from _texts(child, anchor, style)


def marks(root: ET.Element) -> dict[str, ET.Element]:
    """Label -> the path that marks its value."""
    return {each.get("data-mark"): each for each in root.iter() if each.get("data-mark")}


def start(path: ET.Element) -> tuple[float, float]:
    """Where a path begins."""
    x, y = re.match(r"M(-?[\d.]+) (-?[\d.]+)", path.get("d")).groups()
    return float(x), float(y)


def corners(path: ET.Element) -> list[tuple[float, float]]:
    """The corners of a path of horizontal and vertical strokes."""
    found = [start(path)]
    for way, length in re.findall(r"([hv])(-?[\d.]+)", path.get("d")):
        x, y = found[-1]
        found.append((x + float(length), y) if way == "h" else (x, y + float(length)))
    return found


def styled(root: ET.Element, style: str) -> list[ET.Element]:
    """The elements of a class."""
    return [each for each in root.iter() if style in (each.get("class") or "").split()]
