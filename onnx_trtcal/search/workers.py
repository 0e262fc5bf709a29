"""Runs parts of a search side by side, each on one thread of its own; the results do not depend on how many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = ["Workers"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class Workers:
    """A few threads, to be used as a context.

    Args:
        count: how many; None for one per core.
    """

    def __init__(self, count: int | None) -> None:
        self._pool = ThreadPoolExecutor(count or cores())

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """The function of every item, in the order of the items."""
        return list(self._pool.map(function, items))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
