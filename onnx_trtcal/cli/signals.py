"""Signals that end a run, however the code that they hit answers.

An exception that a signal's handler raises may pass through a library that makes another one of it, or drops it:
ONNX Runtime reports an interrupted import as a failed initialization, a callback in compiled code reports nothing. So
the signal is noted, too, and a run that it ended is reported as ended by it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NotedSignals", "noted_signals", "raise_lost_interrupt"]


class NotedSignals:
    """What came in."""

    def __init__(self) -> None:
        self.number = 0

    @property
    def status(self) -> int:
        """Exit status of a run that the signal ended; 0 when none came."""
        return 128 + self.number if self.number else 0

    def interrupt(self, number: int, _frame: object) -> NoReturn:
        """Handles SIGINT."""
        self.number = number
        raise KeyboardInterrupt

    def leave(self, number: int, _frame: object) -> NoReturn:
        """Handles SIGTERM and SIGHUP: leaves through SystemExit, so that temporary files are removed."""
        self.number = number
        raise SystemExit(128 + number)


_current = NotedSignals()


@contextlib.contextmanager
def noted_signals() -> Iterator[NotedSignals]:
    """Notes signals that end a run while it runs, and lets it clean up; only in the main thread, which gets them."""
    global _current
    _current = noted = NotedSignals()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    # A signal that the parent process set to be ignored, as nohup does, stays ignored.
    handlers = {signal.SIGTERM: noted.leave, signal.SIGINT: noted.interrupt}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = noted.leave
    wanted = {number: new for number, new in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
    hook = sys.unraisablehook

    def unraisable(problem: sys.UnraisableHookArgs) -> None:
        # An interrupt that nobody up there can be told of is noted already, and an object that it left half made may
        # fail as it goes.
        if not noted.number:
            hook(problem)

    sys.unraisablehook = unraisable
    before = {number: signal.signal(number, new) for number, new in wanted.items()}
    try:
        yield noted
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        sys.unraisablehook = hook


def raise_lost_interrupt() -> None:
    """Ends a run that a signal should have ended, but whose exception was lost on the way.

    Raises:
        KeyboardInterrupt: after SIGINT.
        SystemExit: after another signal.
    """
    if _current.number == signal.SIGINT:
        raise KeyboardInterrupt
    if _current.number:
        raise SystemExit(_current.status)
