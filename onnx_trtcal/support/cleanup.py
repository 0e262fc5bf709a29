"""Cleaning up that an interrupt can delay but not prevent."""

from __future__ import annotations

import atexit
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["cleaned_up"]

# What is still to be done, and by which process: a fork inherits the list, not the duty.
_pending: dict[object, tuple[int, Callable[[], None]]] = {}


@contextlib.contextmanager
def cleaned_up(clean: Callable[[], None]) -> Iterator[None]:
    """Calls `clean` when the block ends; when an interrupt comes in between, at the end of the process at the latest.

    Args:
        clean: may be called twice, and before the block has done anything.
    """
    key = object()
    _pending[key] = (os.getpid(), clean)
    try:
        yield
    finally:
        clean()
        _pending.pop(key, None)


@atexit.register
def _clean_up() -> None:
    while _pending:
        _, (process, clean) = _pending.popitem()
        if process == os.getpid():
            clean()
