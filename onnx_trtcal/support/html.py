"""Tables for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["html_table"]

_MOST_ROWS = 60


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in HTML, its first rows only where there are many; numbers are shown in six digits."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    left = len(rows) - _MOST_ROWS
    more = f'<tr><td colspan="{len(columns)}">… and {left} more</td></tr>' if left > 0 else ""
    return f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}{more}</table>"


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
