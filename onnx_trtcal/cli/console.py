"""What a verb says: lines, tables, warnings and a progress bar; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from onnx_trtcal.support.progress_bar import Progress, progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Console", "Progress", "raise_refusal"]

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
            _say(sys.stdout, text)

    def detail(self, text: str) -> None:
        """A line that only --verbose shows."""
        if self.verbose:
            self.line(text)

    def result(self, text: str) -> None:
        """What the verb exists to print.

        Raises:
            OSError: when standard output cannot take it.
        """
        if sys.stdout is not None:
            sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """A warning, on standard error; never silenced."""
        _flush()
        _say(sys.stderr, f"warning: {text}")

    def alarm(self, text: str) -> None:
        """A warning that nobody overlooks: in bold red on a terminal, unless the environment has NO_COLOR set."""
        _flush()
        loud = f"WARNING: {text}"
        if sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            loud = f"\x1b[1;31m{loud}\x1b[0m"
        _say(sys.stderr, loud)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Aligned columns, the first to the left and the others to the right, unless quiet."""
        if self.quiet:
            return
        if title:
            self.line(title)
        cells = [list(columns), *map(list, rows)]
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


# What standard output answered when it could not take a line; kept until the work is done.
_refusals: list[OSError] = []


def raise_refusal() -> None:
    """Raises what standard output answered to a line it could not take, if there was one.

    Raises:
        OSError: BrokenPipeError when its reader has gone.
    """
    refusals = list(_refusals)
    _refusals.clear()
    if sys.stdout is not None:
        sys.stdout.flush()
    if refusals:
        raise refusals[0]


def _flush() -> None:
    # In a log that takes both streams, a warning stands where it was said.
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _refusals.append(error)


def _say(stream: TextIO | None, text: str) -> None:
    # The reader of a pipe may have gone, or the disk of a log may be full: the run's files are still wanted.
    try:
        if stream is not None:
            stream.write(text + "\n")
    except OSError as error:
        if stream is sys.stdout:
            _refusals.append(error)


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
        _say(sys.stderr, f"{self.title}: {self.done}{goal}, {rate:.1f} {self.unit}/s")
