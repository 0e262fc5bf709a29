"""What a verb says: lines, tables, warnings and a progress bar; plain lines where there is no terminal.

Whatever is printed is escaped on its way out (see `streams`): callers pass names as they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from onnx_trtcal.cli.columns import Column, drawn_lines
from onnx_trtcal.cli.streams import flush_output, print_drawn, print_line, raise_refusal
from onnx_trtcal.cli.terminal import Terminal, stdout_terminal
from onnx_trtcal.support.printable import printable
from onnx_trtcal.support.progress_bar import Progress, progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Console", "Progress"]

_SECONDS_BETWEEN_LINES = 10.0


class Console:
    """Standard output for what was asked for, standard error for progress and warnings.

    Args:
        quiet: leave out lines, tables and progress; results and warnings stay.
        verbose: show what `detail` says, too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose

    def never_quiet(self) -> Console:
        """A console that prints lines and tables even when this one is quiet: where they are what was asked for."""
        return Console(quiet=False, verbose=self.verbose)

    def line(self, text: str = "") -> None:
        """A line of explanation, unless quiet."""
        if not self.quiet:
            print_line(sys.stdout, text)

    def detail(self, text: str) -> None:
        """A line that only --verbose shows."""
        if self.verbose:
            self.line(text)

    def result(self, text: str) -> None:
        """A line of what the verb exists to print.

        Raises:
            OutputError: when standard output cannot take it.
        """
        print_line(sys.stdout, text)
        raise_refusal()

    def json(self, text: str) -> None:
        """A JSON document, as `json_text` makes it.

        Raises:
            OutputError: when standard output cannot take it.
        """
        for line in text.split("\n"):
            print_line(sys.stdout, line)
        raise_refusal()

    def warn(self, text: str) -> None:
        """A warning, on standard error; never silenced."""
        flush_output()
        print_line(sys.stderr, f"warning: {text}")

    def alarm(self, lines: Sequence[str]) -> None:
        """A warning that nobody overlooks: in bold red on a terminal, unless NO_COLOR or a dumb TERM is set."""
        flush_output()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        terminal = sys.stderr is not None and sys.stderr.isatty()
        for line in (f"WARNING: {lines[0]}", *lines[1:]):
            print_line(sys.stderr, line, "\x1b[1;31m" if terminal and not plain else "")

    @property
    def terminal(self) -> Terminal | None:
        """What standard output can draw on; None in a pipe, and on a terminal that shows text alone."""
        return stdout_terminal()

    def verdict(self, text: str) -> None:
        """The line that says it all, in bold where the terminal can, unless quiet."""
        if not self.quiet:
            terminal = self.terminal
            print_line(sys.stdout, text, "\x1b[1m" if terminal and terminal.colours else "")

    def columns(self, columns: Sequence[Column], title: str = "") -> None:
        """A table by column, drawn where the terminal can; columns in which nothing stands are left out."""
        shown = [each for at, each in enumerate(columns) if not at or each.says_something]
        terminal = self.terminal
        if self.quiet or terminal is None:
            told = [each for each in shown if each.piped and not each.sparks]
            self.table(
                [each.head for each in told], list(zip(*(each.cells for each in told), strict=True)), title
            )
            return
        if title:
            self.line(title)
        for line in drawn_lines(shown, terminal):
            print_drawn(line)

    def left_out(self, count: int) -> None:
        """Says that a table has more rows, and how to see them."""
        if count > 0:
            self.line(f"  ... and {count} more (-v shows all)")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Aligned columns, the first to the left and the others to the right, unless quiet."""
        if self.quiet:
            return
        if title:
            self.line(title)
        cells = [list(map(printable, row)) for row in (columns, *rows)]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            first = row[0].ljust(widths[0])
            others = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            self.line("  " + "  ".join([first, *others]).rstrip())

    @contextlib.contextmanager
    def progress(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Progress]:
        """A bar with count, rate and time left on a terminal; a plain line every ten seconds in a log."""
        if self.quiet:
            yield _Silence()
        elif sys.stderr is not None and sys.stderr.isatty():
            with progress_bar(title, total, unit, transient=True) as bar:
                yield bar
        else:
            yield _Lines(title, total, unit)


class _Silence:
    def advance(self, count: int) -> None:
        """Says nothing."""


class _Lines:
    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self.started = self.said = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said < _SECONDS_BETWEEN_LINES:
            return
        self.said = now
        rate = self.done / (now - self.started)
        goal = f" of {self.total}, {(self.total - self.done) / rate:.0f} s left" if self.total else ""
        print_line(sys.stderr, f"{self.title}: {self.done}{goal}, {rate:.1f} {self.unit}/s")
