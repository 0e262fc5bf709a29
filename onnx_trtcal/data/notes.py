"""What is worth saying about the data while it is read, each thing once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.support.progress import Listener

__all__ = ["Notes"]


class Notes:
    """Passes remarks on to a listener; of each kind only the first, from whatever thread it comes.

    Args:
        listener: receives them; None for nobody.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def once(self, kind: str, text: str) -> None:
        """Says `text` unless something of this kind was said before."""
        with self._lock:
            first = kind not in self._said
            self._said.add(kind)
        if first and self._listener is not None:
            self._listener.say(text)
