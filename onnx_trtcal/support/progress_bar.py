"""Progress bars on standard error, with rich."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from onnx_trtcal.support.printable import printable
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BarListener", "Progress", "listener_for", "progress_bar"]


class Progress(Protocol):
    """Counts finished work."""

    def advance(self, count: int) -> None:
        """Says that `count` more units are done."""


class BarListener(LoggingListener):
    """A listener that shows a bar of samples, and logs what is said."""

    @contextlib.contextmanager
    def progress(self, total: int | None, work: str = "") -> Iterator[Callable[[int], None]]:
        """A bar of samples, in a terminal or a notebook."""
        with progress_bar(work or "running", total, "samples", transient=False) as bar:
            yield bar.advance


def listener_for(listener: Listener | None, *, progress: bool) -> Listener:
    """The listener of a call: the one given; else one that logs, with a bar if that is asked for."""
    if listener is not None:
        return listener
    return BarListener() if progress else LoggingListener()


@contextlib.contextmanager
def progress_bar(title: str, total: int | None, unit: str, *, transient: bool) -> Iterator[Progress]:
    """A bar with count, rate and time left.

    Args:
        title: stands before it.
        total: how many there will be; None when that is not known.
        unit: what is counted.
        transient: remove the bar when it is done.
    """
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Bars(*columns, console=Terminal(stderr=True), transient=transient) as bars:
        task = bars.add_task(printable(title), total=total, rate="")

        class Bar:
            done = 0

            def advance(self, count: int) -> None:
                self.done += count
                rate = self.done / max(time.monotonic() - started, 1e-9)
                bars.update(task, advance=count, rate=f"{rate:.1f} {unit}/s")

        yield Bar()
