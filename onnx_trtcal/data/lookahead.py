"""Looking at the first items of a pass without losing them, even where the data can be read only once."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.data.items import Item

__all__ = ["Lookahead"]


class Lookahead:
    """Starts passes over items; the next pass begins with those that were looked at.

    Args:
        start: starts a pass.
    """

    def __init__(self, start: Callable[[], Iterator[Item]]) -> None:
        self._start = start
        self._seen: list[Item] = []
        self._rest: Iterator[Item] | None = None

    def look(self) -> Iterator[Item]:
        """The items not looked at yet, each taken from the data as it is asked for.

        An error of the data ends them; the pass that follows raises it in its place.
        """
        while True:
            try:
                if self._rest is None:
                    self._rest = self._start()
                item = next(self._rest)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 (whatever the user's iterator raises)
                self._rest = _raising(error)
                return
            self._seen.append(item)
            yield item

    def __call__(self) -> Iterator[Item]:
        """Starts a pass over all items."""
        seen, rest = self._seen, self._rest
        self._seen, self._rest = [], None
        return self._start() if rest is None else chain(seen, rest)


def _raising(error: Exception) -> Iterator[Item]:
    raise error
    yield  # a generator, so that the error comes when it is reached
