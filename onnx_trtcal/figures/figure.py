"""A figure: SVG for a page, for a notebook and for a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError
from onnx_trtcal.figures.style import STYLE, standalone_style
from onnx_trtcal.figures.svg import element, escaped
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Figure"]

_MARGIN = 14


@dataclass(frozen=True, repr=False)
class Figure:
    """A picture, which notebooks show. The same data give the same bytes.

    Attributes:
        title: what it shows, for whoever cannot see it.
        description: what can be read from it, likewise.
        body: the markup inside its `svg` element.
        width: in user units, which are CSS pixels at full size.
        height: likewise.
        interactive: whether parts of it can be clicked.
    """

    title: str
    description: str
    body: str
    width: int
    height: int
    interactive: bool = False

    def __repr__(self) -> str:
        return f"<Figure {self.title!r}, {self.width}x{self.height}>"

    @property
    def markup(self) -> str:
        """An `svg` element for a page that holds `STYLE`: as wide as its container, without ids or styles."""
        return self._svg({"viewBox": f"0 0 {self.width} {self.height}"}, "")

    @property
    def standalone(self) -> str:
        """The text of an .svg file, with a style, a background and a margin of its own."""
        width, height = self.width + 2 * _MARGIN, self.height + 2 * _MARGIN
        box = {"x": -_MARGIN, "y": -_MARGIN, "width": width, "height": height}
        attributes = {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(width),
            "height": str(height),
            "viewBox": f"{-_MARGIN} {-_MARGIN} {width} {height}",
        }
        head = element("style", {}, standalone_style()) + element("rect", {"class": "paper", **box})
        return self._svg(attributes, head) + "\n"

    def save(self, path: str | Path) -> Path:
        """Writes an .svg file, whole or not at all.

        Returns:
            The path.

        Raises:
            OptionError: when the path does not end in .svg, or cannot be written.
            CalibrationError: when the system refuses, or another run writes the file.
        """
        target = Path(path)
        if target.suffix.lower() != ".svg":
            raise OptionError(
                f"a figure is written as SVG, not as {target.suffix or 'a file without a suffix'}",
                where=str(target),
                fix="give a path that ends in .svg; browsers and most editors open it and export other formats",
            )
        with destinations([target], []):
            atomic_write(target, self.standalone.encode())
        return target

    def _repr_svg_(self) -> str:
        return self.standalone

    def _repr_html_(self) -> str:
        # Inline, so that its text has the colour of the notebook's, light or dark.
        return f'<div style="max-width:{self.width}px"><style>{STYLE}</style>{self.markup}</div>'

    def _svg(self, attributes: Mapping[str, str | float], head: str) -> str:
        # What stands inside an image is not offered to the keyboard.
        role = "group" if self.interactive else "img"
        names = element("title", {}, escaped(self.title))
        if self.description:
            names += element("desc", {}, escaped(self.description))
        return element("svg", {**attributes, "class": "tfig", "role": role}, names + head + self.body)
