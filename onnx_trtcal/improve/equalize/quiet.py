"""A listener that passes on progress alone: for runs whose messages were all said before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from onnx_trtcal.support.progress import Listener

__all__ = ["Quiet"]


class Quiet:
    """Says nothing, and shows progress where the listener behind it does."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def say(self, text: str) -> None:
        """Drops a fact."""

    def warn(self, text: str) -> None:
        """Drops a warning."""

    def progress(self, total: int | None, work: str = "") -> AbstractContextManager[Callable[[int], None]]:
        """Opens a count of samples."""
        return self._listener.progress(total, work or "equalizing")
