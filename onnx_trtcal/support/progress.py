"""The listener of a run: what receives its messages and its progress. The library itself never prints."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listener", "LoggingListener"]

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Receives what a run has to say while it works; the command line prints it."""

    def say(self, text: str) -> None:
        """Receives a fact about the run, one line."""

    def warn(self, text: str) -> None:
        """Receives something the user should look at, one line."""

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[Callable[[int], None]]:
        """Opens a count of samples.

        Args:
            total: how many there will be; None when that is not known.
            work: what they are run for; "" for the purpose of the run as a whole.

        Returns:
            A context whose value is called with the number of samples of each batch that is done.
        """


class LoggingListener:
    """Passes what it receives to the logger `onnx_trtcal.support.progress`."""

    def say(self, text: str) -> None:
        """Logs a fact about the run."""
        logger.info("%s", text)

    def warn(self, text: str) -> None:
        """Logs something the user should look at."""
        logger.warning("%s", text)

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[Callable[[int], None]]:
        """Logs that work on samples begins, and none of its steps."""
        logger.debug("%s: %s samples", work or "running", "some" if total is None else total)
        return nullcontext(_ignore)


def _ignore(_: int) -> None:
    pass
