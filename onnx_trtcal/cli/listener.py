"""Prints what the library has to say while it works."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from onnx_trtcal.cli.signals import raise_lost_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.cli.console import Console

__all__ = ["ConsoleListener"]


class ConsoleListener:
    """The library's listener on the command line.

    Args:
        console: where to print.
        work: what the samples are run for, on the progress bar.
    """

    def __init__(self, console: Console, work: str = "calibrating") -> None:
        self.console = console
        self.work = work

    def say(self, text: str) -> None:
        """A line."""
        raise_lost_interrupt()
        self.console.line(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.console.warn(text)

    @contextlib.contextmanager
    def progress(self, total: int | None, work: str = "") -> Iterator[Callable[[int], None]]:
        """A bar of samples."""
        with self.console.progress(work or self.work, total) as bar:

            def advance(count: int) -> None:
                raise_lost_interrupt()
                bar.advance(count)

            yield advance
