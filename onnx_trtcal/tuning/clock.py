"""The time that `tune` may take, and the listener that ends a step when it is over."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.support.progress import Listener

__all__ = ["Clock", "OutOfTimeError", "StepListener"]


class OutOfTimeError(Exception):
    """The budget is used up: caught where the best so far is taken, never shown."""


class Clock:
    """Counts down a budget, once there is something to fall back on.

    Args:
        budget: seconds; None for no limit.
    """

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self.armed = False
        self._started = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that are left, at least 0; None without a budget."""
        return None if self.budget is None else max(self.budget - self.spent, 0.0)

    def check(self) -> None:
        """Ends the step under way when the budget is used up.

        Raises:
            OutOfTimeError: it is.
        """
        if self.armed and self.left == 0:
            raise OutOfTimeError


class StepListener:
    """Receives what one step has to say: its warnings once each, its progress with the clock in view.

    Args:
        listener: receives what is passed on.
        clock: looked at whenever a sample is done.
    """

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self._listener = listener
        self._clock = clock
        self._said: set[str] = set()
        self.step = ""
        """What stands before the work on a progress bar."""

    def say(self, text: str) -> None:
        """Keeps it: what steps have in common is said once by `tune` itself."""
        self._said.add(text)
        self._clock.check()

    def warn(self, text: str) -> None:
        """Passes a warning on, once for all steps."""
        if text not in self._said:
            self._said.add(text)
            self._listener.warn(text)
        self._clock.check()

    @contextlib.contextmanager
    def progress(self, total: int | None, work: str = "") -> Iterator[Callable[[int], None]]:
        """A count of samples that ends with the budget."""
        self._clock.check()
        title = ": ".join(part for part in (self.step, work or "calibrating") if part)
        with self._listener.progress(total, title) as advance:

            def checked(count: int) -> None:
                advance(count)
                self._clock.check()

            yield checked
