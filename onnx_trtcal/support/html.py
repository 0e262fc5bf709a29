"""Tables for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOTEBOOK_ROWS", "Markup", "html_table"]

NOTEBOOK_ROWS = 60
"""How many rows of a table are shown."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    count: int | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """A table in HTML, its first rows only where there are many; numbers are shown in six digits.

    Args:
        caption: above the table.
        columns: their heads.
        rows: of cells; those that are `Markup` are taken as they are.
        count: how many rows there are, where `rows` are the first of them.
        remarks: lines below the caption.
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in rows[:NOTEBOOK_ROWS]
    )
    left = (len(rows) if count is None else count) - NOTEBOOK_ROWS
    more = f'<tr><td colspan="{len(columns)}">… and {left} more</td></tr>' if left > 0 else ""
    title = "<br>".join(map(html.escape, (caption, *remarks)))
    return f"<table><caption>{title}</caption><tr>{head}</tr>{body}{more}</table>"


def _cell(value: object) -> str:
    if isinstance(value, Markup):
        return value
    return html.escape(f"{value:.6g}" if isinstance(value, float) else str(value))
