"""The progress of a run over a cluster, told to one listener."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from onnx_trtcal.data.shard import Shards

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from onnx_trtcal.cluster.board import Standing
    from onnx_trtcal.support.progress import Listener

__all__ = ["Meter"]


class Meter:
    """Passes on what the tasks say, the samples of all shards, and which shards are collected again.

    Args:
        listener: receives it.
        of: how many shards there are.
    """

    def __init__(self, listener: Listener, of: int) -> None:
        self._listener = listener
        self._shards = Shards(of, "", frozenset())
        self._stack = ExitStack()
        self._advance: Callable[[int], None] | None = None
        self._shown = 0
        self._starts: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def update(self, standing: Standing) -> None:
        """Passes on what is new."""
        for warning, text in standing.said:
            (self._listener.warn if warning else self._listener.say)(text)
        for shard, starts in standing.started.items():
            if len(starts) > self._starts.get(shard, 1):
                node, process = starts[-1]
                self._listener.warn(
                    f"{self._shards.named([shard])} is collected again, on {node} in process {process}: the worker "
                    f"that had it, process {starts[-2][1]} on {starts[-2][0]}, was lost or had failed"
                )
            self._starts[shard] = len(starts)
        counted = sum(standing.counted.values())
        if self._advance is None and counted:
            self._advance = self._stack.enter_context(self._listener.progress(standing.total, "collecting"))
        # A shard that is begun again counts from 0; what was shown stays until it is there again.
        if self._advance and counted > self._shown:
            self._advance(counted - self._shown)
            self._shown = counted
