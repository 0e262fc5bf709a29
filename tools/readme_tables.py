"""Rewrites the tables of README.md and of the documentation that follow from the code: methods and detection heads.

    python tools/readme_tables.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. A test holds that the files are what this makes of them.
The flags need no table: the reference of the command line is made from the parsers when the pages are built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.method_rows import method_rows
from onnx_trtcal.evaluation.tasks.names import HEADS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]

# File -> the tables in it.
TABLES = {
    "README.md": ("methods",),
    "tools/docs/guide/methods.md": ("methods",),
    "tools/docs/guide/detectors.md": ("heads",),
}


def main() -> None:
    for name in TABLES:
        path = ROOT / name
        path.write_text(filled(name, path.read_text(encoding="utf-8")), encoding="utf-8")


def filled(name: str, page: str) -> str:
    """The text of a file with the blocks of its tables as they are made now."""
    made = {"methods": methods_table, "heads": heads_table}
    for table in TABLES[name]:
        rows = made[table]()
        block = re.compile(rf"(?<=<!-- {table} -->\n).*?(?=<!-- /{table} -->)", re.DOTALL)
        page, count = block.subn(lambda _, rows=rows: rows, page)
        if count != 1:
            raise SystemExit(f"{name} has {count} blocks <!-- {table} -->, wanted one")
    return page


def methods_table() -> str:
    """One row per method of the registry, the default first."""
    (default, *what), *others = method_rows()
    rows = [(f"`{default}` (default)", *what), *((f"`{usage}`", *text) for usage, *text in others)]
    return _table(("method", "what it does", "works from statistics (`solve`)"), rows)


def heads_table() -> str:
    """One row per detection head."""
    rows = [(f"`{name}`", text) for name, text in HEADS.items()]
    return _table(("`--head`", "what the outputs hold"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
