"""The lines above a picture."""

from __future__ import annotations

from onnx_trtcal.figures.labels import shortened
from onnx_trtcal.figures.svg import text

__all__ = ["heading"]


def heading(title: str, note: str, width: int) -> tuple[str, int]:
    """A title and a note below it, each shortened to the width.

    Returns:
        The markup, and where the picture begins below it.
    """
    markup, y = text(0, 14, shortened(title, 0.95 * width, bold=True), "h"), 22
    if note:
        markup += text(0, 31, shortened(note, width), "d")
        y = 38
    return markup, y
