"""Who is told how a run goes on: the library never prints."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listener", "LoggingListener"]

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Is told how a run goes on; the command line prints what it hears."""

    def say(self, text: str) -> None:
        """A fact about the run, one line."""

    def warn(self, text: str) -> None:
        """Something the user should look at."""

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[Callable[[int], None]]:
        """Opens a count of samples, of `total` if that is known; what it gives is told of each batch's samples.

        `work` is what they are run for; "" for what the run as a whole is about.
        """


class LoggingListener:
    """Passes what it hears to the logger `onnx_trtcal.support.progress`."""

    def say(self, text: str) -> None:
        logger.info("%s", text)

    def warn(self, text: str) -> None:
        logger.warning("%s", text)

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda count: None)
