"""Globs over names with `/`, for file systems that are asked for all of their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["matching"]

_TOKEN = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match; where none does, those in folders that do.

    `*` and `?` stand for no `/`, `**` for folders of any depth, `[a-c]` and `[!a-c]` for one character; what begins
    with a dot is matched by a pattern that does.
    """
    known = list(names)
    wanted = _translated(pattern)
    files = [name for name in known if re.fullmatch(wanted, name)]
    return files or [name for name in known if re.fullmatch(f"{wanted}/.+", name)]


def _translated(pattern: str) -> str:
    *folders, last = pattern.split("/")
    before = "".join(r"(?:(?!\.)[^/]+/)*" if part == "**" else f"{_one(part)}/" for part in folders)
    return before + (r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+" if last == "**" else _one(last))


def _one(part: str) -> str:
    """The pattern of one name."""
    return ("" if part.startswith(".") else r"(?!\.)") + _TOKEN.sub(lambda match: _token(match[0]), part)


def _token(text: str) -> str:
    if text in "*?":
        return "[^/]*" if text == "*" else "[^/]"
    if len(text) > 1:
        inside = text[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
    return re.escape(text)
