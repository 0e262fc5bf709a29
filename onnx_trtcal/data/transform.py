"""Data with the caller's own preprocessing: what `transform=` makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Transformed", "transformed"]


@dataclass(frozen=True)
class Transformed:
    """Data whose elements go through a function before they are fed.

    Attributes:
        data: whatever `open_source` takes, but an iterator.
        function: receives each element as the data gives it, `(image, label)` and all; of a path, each image file as
            a PIL image in RGB. It returns what is fed, of the kinds that an element may be of.
    """

    data: Any
    function: Callable[[Any], Any]


def transformed(data: Any, function: Callable[[Any], Any] | None) -> Any:
    """The data with a function before it; the data itself without one. An iterator stays one."""
    if function is None:
        return data
    return map(function, data) if isinstance(data, Iterator) else Transformed(data, function)
