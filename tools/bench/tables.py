"""Numbers as Markdown."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["markdown", "megabytes", "number", "spread"]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is left aligned, the others right."""
    lines = [list(columns), ["---", *["--:"] * (len(columns) - 1)], *[list(row) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) < 1e-6:
        return "0"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def spread(values: Sequence[float]) -> str:
    """The median, with the smallest and the largest where there are several."""
    middle = number(median(values))
    return middle if len(values) < 2 else f"{middle} ({number(min(values))}–{number(max(values))})"


def megabytes(size: float) -> str:
    """Bytes in MB."""
    return f"{round(size / 1e6)}"
