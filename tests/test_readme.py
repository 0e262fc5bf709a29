"""README.md is what the code is: its tables, its sample output, its Python and its flags."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
import io
import re
import shutil
from pathlib import Path

import pytest
from helpers.compiler import needs_compiler

import onnx_trtcal
from onnx_trtcal.cli import VERBS, main, parser_for
from onnx_trtcal.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> list[str]:
    """The lines of the fenced block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return found[1].splitlines()


def test_the_tables_are_those_that_are_generated() -> None:
    path = ROOT / "tools" / "readme_tables.py"
    spec = importlib.util.spec_from_file_location("readme_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled(README) == README, "run python tools/readme_tables.py"
    rows = module.methods_table().splitlines()[2:]
    assert sorted(re.split(r"[`:]", row)[1] for row in rows) == sorted(METHODS)


def assert_prints(command: str, sample: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command line in a folder that holds the bundled models; a `…` in the sample stands for anything."""
    for name in ("digits_resnet.onnx", "digits_calib"):
        source, target = ROOT / "models" / name, folder / "models" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    monkeypatch.chdir(folder)
    # On a machine this slow there would be lines of progress among the others.
    monkeypatch.setattr("onnx_trtcal.cli.console._SECONDS_BETWEEN_LINES", 1e9)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert main(command.split()) == 0
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in sample
    )
    assert re.fullmatch(pattern, printed.getvalue()), printed.getvalue()


def test_the_sample_output_is_that_of_the_run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = block("run command")[0].partition("-m onnx_trtcal ")[2]
    assert_prints(command, block("sample output"), tmp_path, monkeypatch)


@needs_compiler
@pytest.mark.slow
def test_the_verification_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = block("verify command")[0].removeprefix("onnx-trtcal ")
    version = importlib.metadata.version("tensorrt-rtx-cu12")
    sample = [re.sub(r"RTX [0-9.]+ for", f"RTX {version} for", line) for line in block("verify output")]
    assert_prints(command, sample, tmp_path, monkeypatch)


def test_the_commands_that_others_read_are_marked() -> None:
    for marker in ("run command", "test command"):
        (line,) = block(marker)
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_the_python_is_that_of_the_api() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imported = [
        name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    assert imported and {name.name for name in imported} <= set(onnx_trtcal.__all__)
    section = README.partition("## In Python")[2].partition("\n## ")[0]
    functions = {name for name in onnx_trtcal.__all__ if name[0].islower()}
    assert functions <= set(re.findall(r"\w+", section))


def test_every_flag_and_verb_it_shows_exists() -> None:
    table = re.search(r"<!-- options -->.*?<!-- /options -->", README, re.DOTALL)
    assert table
    known = set(re.findall(r"--[a-z][a-z-]*", table[0])) | {"--help"}
    known |= {
        flag for verb in VERBS for action in parser_for(verb)._actions for flag in action.option_strings
    }
    shells = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    commands = [line for text in shells for line in text.replace("\\\n", " ").splitlines()]
    ours = [
        line.partition("#")[0] for line in commands if re.match(r"onnx-trtcal|python -m onnx_trtcal", line)
    ]
    assert len(ours) > 10
    for line in ours:
        assert set(re.findall(r"(?<=\s)--[a-z][a-z-]*", line)) <= known, line
