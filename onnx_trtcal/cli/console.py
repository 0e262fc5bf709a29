"""What a verb says: lines, tables, warnings and a progress bar; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

__all__ = ["Console", "Progress"]

_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """Counts finished work."""

    def advance(self, count: int) -> None:
        """Says that `count` more units are done."""


class Console:
    """Standard output for what was asked for, standard error for progress and warnings.

    Args:
        quiet: leave out lines, tables and progress; results and warnings stay.
        verbose: show what `detail` says, too.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose

    def line(self, text: str = "") -> None:
        """A line of explanation, unless quiet."""
        if not self.quiet:
            self.result(text)

    def detail(self, text: str) -> None:
        """A line that only --verbose shows."""
        if self.verbose:
            self.line(text)

    def result(self, text: str) -> None:
        """What the verb exists to print."""
        sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """A warning, on standard error; never silenced."""
        sys.stdout.flush()
        sys.stderr.write(f"warning: {text}\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Aligned columns, the first to the left and the others to the right, unless quiet."""
        if self.quiet:
            return
        if title:
            self.result(title)
        cells = [list(columns), *map(list, rows)]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            first = row[0].ljust(widths[0])
            others = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            self.result("  " + "  ".join([first, *others]).rstrip())

    @contextlib.contextmanager
    def progress(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Progress]:
        """A bar with count, rate and time left on a terminal; now and then a plain line in a log."""
        if self.quiet:
            yield _Silence()
        elif sys.stderr.isatty():
            with _bar(title, total, unit) as bar:
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
        sys.stderr.write(f"{self.title}: {self.done}{goal}, {rate:.1f} {self.unit}/s\n")
        sys.stderr.flush()


@contextlib.contextmanager
def _bar(title: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Bars(*columns, console=Terminal(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total, rate="")

        class Bar:
            done = 0

            def advance(self, count: int) -> None:
                self.done += count
                rate = self.done / max(time.monotonic() - started, 1e-9)
                bars.update(task, advance=count, rate=f"{rate:.1f} {unit}/s")

        yield Bar()
