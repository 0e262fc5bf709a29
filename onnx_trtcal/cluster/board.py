"""Where the tasks of a run note how far they are, and what they have to say."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Board", "BoardListener", "Standing"]

_BETWEEN = 0.5  # seconds between two notes of one task


@dataclass
class Standing:
    """How far a run is.

    Attributes:
        total: samples in all of the data; None while that is not known.
        counted: shard -> samples counted.
        started: shard -> on which machine and in which process it was started, each time.
        said: lines to pass on that were not before: whether it is a warning, and the text.
    """

    total: int | None = None
    counted: dict[int, int] = field(default_factory=dict)
    started: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    said: list[tuple[bool, str]] = field(default_factory=list)


class Board:
    """The actor that gathers it; each line is passed on once, whichever shards say it."""

    def __init__(self) -> None:
        self._standing = Standing()
        self._known: set[str] = set()

    def start(self, shard: int, node: str, process: int) -> None:
        """Notes that a shard was started, perhaps not for the first time."""
        self._standing.started.setdefault(shard, []).append((node, process))
        self._standing.counted[shard] = 0

    def count(self, shard: int, counted: int) -> None:
        """Notes how many samples of a shard are counted."""
        self._standing.counted[shard] = counted

    def tell_total(self, total: int | None) -> None:
        """Notes how many samples all of the data has."""
        self._standing.total = total

    def say(self, text: str, *, warning: bool) -> None:
        """Notes a line."""
        if text not in self._known:
            self._known.add(text)
            self._standing.said.append((warning, text))

    def standing(self) -> Standing:
        """How far the run is, with the lines since this was last asked."""
        standing = self._standing
        said, standing.said = standing.said, []
        return Standing(standing.total, dict(standing.counted), dict(standing.started), said)


class BoardListener:
    """The listener of one shard's task.

    Args:
        board: the actor.
        shard: number of the shard.
        node: name of the machine.
    """

    def __init__(self, board: Any, shard: int, node: str) -> None:
        self._board = board
        self._shard = shard
        board.start.remote(shard, node, os.getpid())

    def say(self, text: str) -> None:
        """Passes on a line that all shards would say."""
        self._board.say.remote(text, warning=False)

    def warn(self, text: str) -> None:
        """Passes on a warning."""
        self._board.say.remote(text, warning=True)

    @contextmanager
    def progress(self, total: int | None, work: str = "") -> Iterator[Callable[[int], None]]:  # noqa: ARG002 (Listener's)
        """Notes samples as they are counted."""
        counted, last = 0, 0.0

        def advance(count: int) -> None:
            nonlocal counted, last
            counted += count
            if time.monotonic() - last >= _BETWEEN:
                last = time.monotonic()
                self._board.count.remote(self._shard, counted)

        try:
            yield advance
        finally:
            self._board.count.remote(self._shard, counted)
