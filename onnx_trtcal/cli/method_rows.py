"""The registry of methods in words, for `--help` and for the README."""

from __future__ import annotations

import textwrap

from onnx_trtcal.methods.registry import METHODS
from onnx_trtcal.options import DEFAULT_METHOD

__all__ = ["method_rows", "methods_help"]

_WIDTH = 79


def method_rows() -> list[tuple[str, str, str]]:
    """How each method is written on the command line, what it does, and whether it works from statistics.

    The default comes first.
    """
    rows = []
    for name, each in sorted(METHODS.items(), key=lambda item: item[0] != DEFAULT_METHOD):
        usage = f"{name}:{each.argument.name}" if each.argument else name
        given = f" (default {each.argument.default!r})" if each.argument else ""
        rows.append((usage, each.description + given, each.from_statistics))
    return rows


def methods_help() -> str:
    """The rows as aligned lines of help text."""
    rows = method_rows()
    indent = max(len(usage) for usage, _, _ in rows) + 4
    lines: list[str] = []
    for usage, description, from_statistics in rows:
        start = f"  {usage}".ljust(indent)
        solvable = "" if from_statistics == "yes" else f" [in solve: {from_statistics}]"
        lines += textwrap.wrap(
            start + description + solvable, _WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False
        )
    return "\n".join(lines)
