"""Tables by column: with bars and sparklines on a terminal that can draw them, as plain text everywhere else.

What is in a pipe does not depend on any terminal: the same result is the same text.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.cli.terminal import BAR_PARTS, SPARKS
from onnx_trtcal.support.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.cli.terminal import Terminal

__all__ = ["Column", "drawn_lines", "spark"]

_GAP, _INDENT = 2, 2
_LEAST_NAME, _LEAST_BAR, _MOST_BAR, _SPARK = 12, 6, 24, 16
_NOTHING = ("", "-")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        head: its name.
        cells: its text, row by row; empty where only `sparks` are shown.
        bars: row by row a share (0 to 1), drawn as a bar behind the text; empty for none.
        sparks: row by row the shares (0 to 1) that a sparkline is made of, in place of text; empty for none.
        rank: columns of the highest rank are the first that a narrow terminal goes without; those of rank 0 stay.
        drawn: whether a terminal that draws shows it.
        piped: whether it is there where nothing is drawn; one of sparklines never is.
        short: its name where it is drawn; empty for the same.
    """

    head: str
    cells: tuple[str, ...] = ()
    bars: tuple[float, ...] = ()
    sparks: tuple[Sequence[float], ...] = ()
    rank: int = 0
    drawn: bool = True
    piped: bool = True
    short: str = ""

    @property
    def drawn_head(self) -> str:
        """Its name where it is drawn."""
        return self.short or self.head

    @property
    def says_something(self) -> bool:
        """Whether any row has something there."""
        return bool(self.sparks) or any(cell not in _NOTHING for cell in self.cells)


def spark(shares: Sequence[float], width: int = _SPARK) -> str:
    """Shares (0 to 1) as a line of characters; neighbours share one where there are more, and the highest counts."""
    if not shares:
        return ""
    count = min(width, len(shares))
    edges = [at * len(shares) // count for at in range(count + 1)]
    highest = [max(map(_share, shares[edges[at] : edges[at + 1]])) for at in range(count)]
    return "".join(SPARKS[min(int(each * 8), 7)] if each > 0 else " " for each in highest)


def drawn_lines(columns: Sequence[Column], terminal: Terminal) -> list[str]:
    """The lines of a table, with escape sequences, no wider than the terminal where that is possible.

    Args:
        columns: the first of them holds names, which lose their middle where the terminal is narrow.
        terminal: what to draw on.
    """
    from rich.console import Console
    from rich.text import Text

    layout = _Layout.fitting(columns, terminal.width - _INDENT)
    lines = [Text(" " * _INDENT + layout.head(), style="dim")]
    for row in range(layout.rows):
        line = Text(" " * _INDENT)
        for words, style in layout.pieces(row):
            line.append(words, style=style)
        line.rstrip()
        lines.append(line)
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system=terminal.colours,  # type: ignore[arg-type]  # one of its own names
        width=max(terminal.width, 1000),
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    return file.getvalue().splitlines()


@dataclass(frozen=True)
class _Layout:
    """Columns with their widths: of the text, and of the bar behind it."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    bar: int
    cells: tuple[tuple[str, ...], ...] = field(repr=False)

    @classmethod
    def fitting(cls, columns: Sequence[Column], room: int) -> _Layout:
        kept = [each for each in columns if each.drawn]
        while _least(kept) > room and (most := max(each.rank for each in kept)) > 0:
            kept = [each for each in kept if each.rank < most]
        cells = [_texts(column) for column in kept]
        widths = [
            max(map(_wide, (column.drawn_head, *each))) for column, each in zip(kept, cells, strict=True)
        ]
        bars = sum(bool(column.bars) for column in kept)
        others = sum(widths[1:]) + _GAP * (len(kept) - 1) + bars
        widths[0] = max(min(widths[0], room - others - bars * _LEAST_BAR), min(widths[0], _LEAST_NAME))
        bar = min(max((room - others - widths[0]) // bars, 0), _MOST_BAR) if bars else 0
        cells[0] = tuple(_shortened(cell, widths[0]) for cell in cells[0])
        return cls(tuple(kept), tuple(widths), bar, tuple(cells))

    @property
    def rows(self) -> int:
        return len(self.cells[0])

    def head(self) -> str:
        parts = []
        for at, column in enumerate(self.columns):
            left = not at or bool(column.sparks)
            words = _padded(column.drawn_head, self.widths[at], left=left)
            parts.append(words + " " * (self.bar + 1) * bool(column.bars))
        return (" " * _GAP).join(parts).rstrip()

    def pieces(self, row: int) -> list[tuple[str, str]]:
        """The texts of one row with their styles."""
        found: list[tuple[str, str]] = []
        for at, column in enumerate(self.columns):
            if at:
                found.append((" " * _GAP, ""))
            left = not at or bool(column.sparks)
            style = "blue" if column.sparks else ""
            found.append((_padded(self.cells[at][row], self.widths[at], left=left), style))
            if column.bars:
                share = _share(column.bars[row])
                worst = share == max(map(_share, column.bars))
                found.append((" " + _bar(share, self.bar).ljust(self.bar), "red" if worst else "blue"))
        return found


def _least(columns: Sequence[Column]) -> int:
    """How much room columns need, with short names and short bars."""
    total = _GAP * (len(columns) - 1)
    for at, column in enumerate(columns):
        natural = max(map(_wide, (column.drawn_head, *_texts(column))))
        total += min(natural, _LEAST_NAME) if not at else natural
        total += 1 + _LEAST_BAR if column.bars else 0
    return total


def _texts(column: Column) -> tuple[str, ...]:
    if column.sparks:
        return tuple(spark(shares) for shares in column.sparks)
    return tuple(map(printable, column.cells))


def _bar(share: float, width: int) -> str:
    """A bar in eighths of a character; what is more than nothing shows."""
    eighths = max(round(share * width * 8), 1) if share > 0 and width else 0
    whole, part = divmod(eighths, 8)
    return "█" * whole + (BAR_PARTS[part - 1] if part else "")


def _share(value: float) -> float:
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


def _padded(words: str, width: int, *, left: bool) -> str:
    space = " " * max(width - _wide(words), 0)
    return words + space if left else space + words


def _shortened(words: str, width: int) -> str:
    """A name without its middle where it is wider: both ends tell something."""
    # Some characters take no room; where a name has hundreds of them, losing a few more is no loss.
    keep = len(words) if _wide(words) <= width else min(len(words), 8 * width + 8)
    cut = words
    while _wide(cut) > width and keep > 1:
        keep -= 1
        cut = f"{words[: keep // 2]}…{words[len(words) - (keep - keep // 2) :]}"
    return cut


def _wide(words: str) -> int:
    from rich.cells import cell_len

    return cell_len(words)
