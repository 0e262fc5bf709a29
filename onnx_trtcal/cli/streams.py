"""Standard output and standard error: the one place where text is written to them, escaped.

A stream may be closed from the start, its disk full, its reader gone or its encoding ASCII. None of that may cost
finished work or end in a traceback: what cannot be written is noted, and raised once the work is done.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, TextIO

from onnx_trtcal.support.printable import printable

if TYPE_CHECKING:
    from onnx_trtcal.errors import CalibrationError

__all__ = [
    "OutputError",
    "flush_output",
    "give_up_streams",
    "prepare_streams",
    "print_drawn",
    "print_error",
    "print_line",
    "raise_refusal",
]


class OutputError(Exception):
    """Standard output cannot take what was written to it.

    Args:
        error: what the system said.
    """

    def __init__(self, error: OSError | ValueError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def reader_gone(self) -> bool:
        """Whether it is a pipe that nobody reads any more."""
        return isinstance(self.error, BrokenPipeError)

    @property
    def reason(self) -> str:
        """What the system said, in words."""
        return getattr(self.error, "strerror", None) or str(self.error)


# What standard output answered when it could not take a line; kept until the work is done.
_refusals: list[OutputError] = []


def prepare_streams() -> None:
    """Readies the streams of a process for whatever is printed.

    A descriptor that was closed from the start is opened on the null device: otherwise the next file that is opened
    would get its number, and what a library writes to standard error would end up in that file. Characters that an
    encoding lacks are written with backslashes.
    """
    _refusals.clear()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        # Not every stream that stands in for these, as in a notebook, can be told so.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def print_line(stream: TextIO | None, text: str, style: str = "") -> None:
    """Writes one line; what standard output answers when it cannot take it is noted for `raise_refusal`.

    Args:
        stream: where to; None is a closed stream, which takes nothing.
        text: the line; a line break in it is escaped like any control character.
        style: escape sequence that opens a style; the line is closed with a reset.
    """
    line = printable(text)
    _write(stream, f"{style}{line}\x1b[0m\n" if style else f"{line}\n")


def print_drawn(line: str) -> None:
    """Writes a line to standard output as it is: one whose names are escaped, and whose escape sequences are ours."""
    _write(sys.stdout, f"{line}\n")


def print_error(error: CalibrationError) -> None:
    """Writes an error of the family to standard error: what happened, its details, where, and what to do."""
    flush_output()
    head, *rest = error.lines()
    print_line(sys.stderr, f"error: {head}")
    for line in rest:
        print_line(sys.stderr, line)


def flush_output() -> None:
    """Flushes standard output, so that in a log that takes both streams an error stands where it was said."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _refusals.append(OutputError(error))


def raise_refusal() -> None:
    """Raises what standard output answered to a line that it could not take, if there was one.

    Raises:
        OutputError: the first answer.
    """
    refusals = list(_refusals)
    _refusals.clear()
    if refusals:
        raise refusals[0]


def give_up_streams() -> None:
    """Lets go of streams that cannot take what is left in their buffers: Python would complain of it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def _write(stream: TextIO | None, text: str) -> None:
    try:
        if stream is not None:
            stream.write(text)
    except (OSError, ValueError) as error:
        # The run's files are still wanted.
        if stream is sys.stdout:
            _refusals.append(OutputError(error))
