"""README.md is what the code is: its table, its sample output, its Python, its links and its flags."""

from __future__ import annotations

import ast
import importlib.util
import re
from typing import TYPE_CHECKING

import pytest
from helpers.doc_pages import ROOT, assert_prints, blocks, marked_block

import onnx_trtcal
from onnx_trtcal.cli import VERBS, parser_for
from onnx_trtcal.methods import METHODS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "tools" / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def readme_tables() -> ModuleType:
    path = ROOT / "tools" / "readme_tables.py"
    spec = importlib.util.spec_from_file_location("readme_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_that_are_generated(readme_tables: ModuleType) -> None:
    for name in readme_tables.TABLES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert readme_tables.filled(name, text) == text, "run python tools/readme_tables.py"
    rows = readme_tables.methods_table().splitlines()[2:]
    assert sorted(re.split(r"[`:]", row)[1] for row in rows) == sorted(METHODS)


def test_the_sample_output_is_that_of_the_run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = marked_block(README, "run command")[0].partition("-m onnx_trtcal ")[2]
    assert_prints(command, marked_block(README, "sample output"), tmp_path, monkeypatch)


def test_the_commands_that_others_read_are_marked() -> None:
    for marker in ("run command", "test command"):
        (line,) = marked_block(README, marker)
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_its_python_is_that_of_the_api() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imported = [
        name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    assert imported and {name.name for name in imported} <= set(onnx_trtcal.__all__)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if not re.match(r"https?:", target) and name:
            assert (path.parent / name).is_file(), target
            if anchor:
                # As GitHub and MyST make an anchor of a heading.
                titles = re.findall(r"(?m)^#+ (.*)$", (path.parent / name).read_text(encoding="utf-8"))
                assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def flags_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for each in action.choices.values():
                yield from flags_of(each)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_flag_that_a_command_shows_is_one_of_its_verb(path: Path) -> None:
    shells = [block.text for block in blocks(path.read_text(encoding="utf-8")) if block.language == "sh"]
    commands = [line.partition(" #")[0] for text in shells for line in text.replace("\\\n", " ").splitlines()]
    for line in commands:
        if found := re.match(r"(?:onnx-trtcal|python -m onnx_trtcal) (\S+)", line):
            verb = found[1] if found[1] in VERBS else "calibrate"
            known = {*flags_of(parser_for(verb))}
            assert set(re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", line)) <= known, line


def test_it_shows_commands() -> None:
    assert len(re.findall(r"(?m)^onnx-trtcal ", README)) > 8
