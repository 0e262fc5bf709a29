"""Rewrites the tables of README.md that follow from the code: options, methods and detection heads.

    python tools/readme_tables.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. A test holds that the file is what this makes of it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli import VERBS, parser_for
from onnx_trtcal.cli.method_rows import method_rows
from onnx_trtcal.evaluation.tasks.names import HEADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

README = Path(__file__).resolve().parents[1] / "README.md"

# A help text says its default itself, in words where there is no one value.
DEFAULT = re.compile(r"\s*\(default:? ([^()]*)\)")


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


def filled(readme: str) -> str:
    """The text with the blocks of all tables as they are made now."""
    for name, table in (("options", options_table()), ("methods", methods_table()), ("heads", heads_table())):
        block = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        readme, count = block.subn(lambda _, table=table: table, readme)
        if count != 1:
            raise SystemExit(f"README.md has {count} blocks <!-- {name} -->, wanted one")
    return readme


def methods_table() -> str:
    """One row per method of the registry, the default first."""
    (default, *what), *others = method_rows()
    rows = [(f"`{default}` (default)", *what), *((f"`{usage}`", *text) for usage, *text in others)]
    return _table(("method", "what it does", "works from statistics (`solve`)"), rows)


def heads_table() -> str:
    """One row per detection head."""
    rows = [(f"`{name}`", text) for name, text in HEADS.items()]
    return _table(("`--head`", "what the outputs hold"), rows)


def options_table() -> str:
    """One row per flag, or several where it means different things to different verbs; every verb's flags."""
    verbs_of: dict[tuple[str, str, str], list[str]] = {}
    for verb, action in _actions():
        verbs_of.setdefault(_row(action), []).append(verb)
    rows = [
        (flag, "all" if {*VERBS} <= {*verbs} else ", ".join(verbs), default, meaning)
        for (flag, default, meaning), verbs in verbs_of.items()
    ]
    return _table(("flag", "verb", "default", "meaning"), rows)


def _actions() -> Iterator[tuple[str, argparse.Action]]:
    """Every flag of every verb; the actions of a verb that has some count as verbs."""
    for verb in VERBS:
        parsers = [(verb, parser_for(verb))]
        for name, parser in parsers:
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    parsers += [(f"{name} {each}", parser) for each, parser in action.choices.items()]
                elif action.option_strings and action.dest != "help" and action.help != argparse.SUPPRESS:
                    yield name, action


def _row(action: argparse.Action) -> tuple[str, str, str]:
    """Flag, default and meaning of an action."""
    text = (action.help or "").replace("%%", "%")
    found = DEFAULT.search(text)
    value = "" if action.nargs == 0 else f" {_value(action)}"
    flag = ", ".join(f"`{each}{value if each.startswith('--') else ''}`" for each in action.option_strings)
    if found:
        return flag, found[1], text[: found.start()] + text[found.end() :]
    if action.required:
        return flag, "required", text
    return flag, "off" if action.nargs == 0 and action.dest != "version" else "", text


def _value(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices)) if action.choices else str(action.metavar)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
