"""What standard output can draw, if anything."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

__all__ = ["BAR_PARTS", "SPARKS", "Terminal", "stdout_terminal"]

BAR_PARTS = "▏▎▍▌▋▊▉█"
"""Eighths of a character, from the left."""
SPARKS = "▁▂▃▄▅▆▇█"
"""Eighths of a character, from below."""

_LEAST_WIDTH = 20  # of a terminal that tells nonsense


@dataclass(frozen=True)
class Terminal:
    """A terminal that shows block characters.

    Attributes:
        width: in characters.
        colours: rich's name for the colours it has; None for none, or where NO_COLOR is set.
    """

    width: int
    colours: str | None


def stdout_terminal() -> Terminal | None:
    """The terminal that standard output is; None where it is none, or one that shows lines of text and no more."""
    if sys.stdout is None or not _is_terminal() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    try:
        (BAR_PARTS + SPARKS).encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return None
    from rich.console import Console

    console = Console(file=sys.stdout)
    if console.legacy_windows:
        return None
    colours = None if os.environ.get("NO_COLOR") else console.color_system
    return Terminal(max(_width() or console.width, _LEAST_WIDTH), colours)


def _width() -> int:
    """The width of standard output itself, which may be another terminal than standard input; 0 if it is not known."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except ValueError:  # closed
        return False
