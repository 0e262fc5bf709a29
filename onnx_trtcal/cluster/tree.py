"""Statistics of many shards added up as a tree, while others are still being collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MergeTree"]


class MergeTree:
    """Adds up parts in groups, and the sums of groups likewise, each merge being a task.

    No task merges more than `width` parts, nor does a part go through more merges than the tree is high.

    Args:
        merge: starts the merge of parts, and returns its result before it is there.
        width: how many parts a merge takes.
    """

    def __init__(self, merge: Callable[..., Any], width: int = 16) -> None:
        self._merge = merge
        self._width = width
        self._levels: list[list[Any]] = []

    def add(self, part: Any, level: int = 0) -> None:
        """Adds a part, which need not be there yet."""
        if level == len(self._levels):
            self._levels.append([])
        parts = self._levels[level]
        parts.append(part)
        if len(parts) == self._width:
            self._levels[level] = []
            self.add(self._merge(*parts), level + 1)

    def total(self) -> Any:
        """The sum of all parts."""
        rest: list[Any] = []
        for parts in self._levels:
            rest += parts
            while len(rest) > self._width:
                rest = [*rest[self._width :], self._merge(*rest[: self._width])]
        return self._merge(*rest) if len(rest) > 1 else rest[0]
