"""Cleaning up that an interrupt can delay but not prevent."""

from __future__ import annotations

import atexit
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Cleanup", "cleaned_up"]


class Cleanup:
    """Something to clean up, at the end of the process at the latest.

    Args:
        clean: may be called twice, and before there is anything.
    """

    def __init__(self, clean: Callable[[], None]) -> None:
        self._clean = clean
        _pending[self] = os.getpid()

    def run(self) -> None:
        """Cleans up; when an interrupt comes in between, that is done again at the end of the process."""
        self._clean()
        _pending.pop(self, None)


# What is still to be done, and by which process: a fork inherits the list, not the duty.
_pending: dict[Cleanup, int] = {}


@contextlib.contextmanager
def cleaned_up(clean: Callable[[], None]) -> Iterator[None]:
    """Calls `clean` when the block ends; when an interrupt comes in between, at the end of the process at the latest.

    Args:
        clean: may be called twice, and before the block has done anything.
    """
    cleanup = Cleanup(clean)
    try:
        yield
    finally:
        cleanup.run()


@atexit.register
def _clean_up() -> None:
    while _pending:
        cleanup, process = _pending.popitem()
        if process == os.getpid():
            cleanup.run()
