"""JSON from files that anybody may have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["parse_json"]

# Lists and objects in one another. What is deeper could be read, but may be too deep to be written again.
_MOST_LEVELS = 100


def parse_json(
    text: str | bytes,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    levels: int | None = _MOST_LEVELS,
) -> Any:
    """What a JSON document holds.

    Args:
        text: the document.
        pairs: makes the value of an object from its keys and values; None for a dict.
        levels: how deep lists and objects may be nested; None for as deep as can be read, which spares a look at
            every value.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if levels is not None and _deeper(value, levels):
        raise ValueError(f"it is nested too deeply: more than {levels} levels")
    return value


def _deeper(value: Any, levels: int) -> bool:
    nested = [value]
    for _ in range(levels):
        nested = [
            inner
            for each in nested
            if isinstance(each, (list, tuple, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (list, tuple, dict))
        ]
        if not nested:
            return False
    return True
