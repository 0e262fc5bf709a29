"""The code on a page of the documentation, and a run of it.

A fenced block is run as it stands, in the order of the page and in one folder: `sh` line by line, `python` in one
namespace. HTML comments right above a block say otherwise:

    <!-- file: NAME -->         the block is what the file NAME holds
    <!-- prints -->             the block is what the one before it prints; … stands for anything
    <!-- needs: PACKAGE … -->   run where these packages are installed
    <!-- not run: REASON -->    shown only

A `trtexec` line is not run either: it has to be one that a command of the page has printed before.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

__all__ = ["ROOT", "Block", "PageRun", "assert_prints", "blocks", "marked_block", "marked_table", "pattern"]

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(
    r"^(?P<marks>(?:<!-- [^\n]* -->\n)*)^(?P<fence>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"<!-- (file|prints|needs|not run)(?:: (.*?))? -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: what stands behind the fence.
        text: its lines.
        line: number of its first line on the page.
        marks: name -> value of the comments above it.
    """

    language: str
    text: str
    line: int
    marks: Mapping[str, str]

    @property
    def needs(self) -> list[str]:
        """The packages without which it cannot run."""
        return self.marks.get("needs", "").split()

    @property
    def runs(self) -> bool:
        """Whether it is code that is to be run."""
        return self.language in ("sh", "python") and not {"file", "prints", "not run"} & {*self.marks}


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page's text, but for directives."""
    found = []
    for match in _BLOCK.finditer(page):
        if not match["language"].startswith("{"):
            marks = {mark[1]: mark[2] or "" for mark in _MARK.finditer(match["marks"])}
            line = page.count("\n", 0, match.start("text")) + 1
            found.append(Block(match["language"], match["text"], line, marks))
    return found


def pattern(sample: Sequence[str]) -> str:
    """A regular expression for what is printed: a … stands for anything, alone on a line for any lines."""
    return "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in sample
    )


def marked_block(page: str, marker: str) -> list[str]:
    """The lines of the fenced block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", page, re.DOTALL)
    assert found, marker
    return found[1].splitlines()


def marked_table(page: str, marker: str) -> list[str]:
    """What the first column of a table says, row by row."""
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", page, re.DOTALL)
    assert found, marker
    rows = [re.match(r"\| `(.*?)` \|", line) for line in found[1].splitlines()[2:]]
    assert rows and all(rows)
    return [row[1] for row in rows if row]


def assert_prints(command: str, sample: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command line in a folder that holds the bundled models; a `…` in the sample stands for anything."""
    for name in ("digits_resnet.onnx", "digits_calib", "digits_test"):
        source, target = ROOT / "models" / name, folder / "models" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    monkeypatch.chdir(folder)
    # On a machine this slow there would be lines of progress among the others.
    monkeypatch.setattr("onnx_trtcal.cli.console._SECONDS_BETWEEN_LINES", 1e9)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert main(command.split()) == 0
    assert re.fullmatch(pattern(sample), printed.getvalue()), printed.getvalue()


def _is_installed(package: str) -> bool:
    return find_spec(package.partition(".")[0]) is not None


@dataclass
class PageRun:
    """A run of one page.

    Attributes:
        path: the page.
        folder: where its code runs.
        printed: everything that its commands have printed.
        ran: lines of the blocks that were run.
        left: lines of the blocks that were not -> why.
    """

    path: Path
    folder: Path
    printed: list[str] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    _names: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})

    def run(self) -> None:
        """Runs the whole page, in the working directory, which has to be the folder."""
        last = ""
        ran = False
        for block in blocks(self.path.read_text(encoding="utf-8")):
            where = f"{self.path.name}:{block.line}"
            if "file" in block.marks:
                target = self.folder / block.marks["file"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            elif "prints" in block.marks and ran:
                assert re.fullmatch(pattern(block.text.splitlines()), last), f"{where}:\n{last}"
            elif block.runs:
                missing = [package for package in block.needs if not _is_installed(package)]
                ran = not missing
                if missing:
                    self.left[block.line] = f"needs {', '.join(missing)}"
                else:
                    last = self._shell(block, where) if block.language == "sh" else self._python(block)
                    self.ran.append(block.line)
            elif "not run" in block.marks:
                self.left[block.line] = block.marks["not run"]

    def _python(self, block: Block) -> str:
        said = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.text, str(self.path), "exec")
        with contextlib.redirect_stdout(said):
            exec(code, self._names)
        return self._note(said.getvalue())

    def _shell(self, block: Block, where: str) -> str:
        lines = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("#")]
        if all(re.match(r"(onnx-trtcal|trtexec) (?!.*[|&$;>])", _bare(line)) for line in lines):
            return self._note(
                "".join(self._command(shlex.split(line, comments=True), where) for line in lines)
            )
        tools = self._tools()
        path = [str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {**os.environ, "PATH": os.pathsep.join(path)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{where}:\n{done.stdout}"
        return self._note(done.stdout)

    def _command(self, words: list[str], where: str) -> str:
        if words[0] == "trtexec":
            printed = [shlex.split(line) for line in "".join(self.printed).splitlines() if "trtexec" in line]
            assert any(line[-len(words) :] == words for line in printed), f"{where}: nothing printed {words}"
            return ""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(words[1:])
        assert status == 0, f"{where}:\n{said.getvalue()}"
        return self._note(said.getvalue())

    def _note(self, text: str) -> str:
        self.printed.append(text)
        return text

    def _tools(self) -> Path:
        """A folder for PATH with this package's command, by the Python that runs the test."""
        folder = self.folder / ".tools"
        folder.mkdir(exist_ok=True)
        for name, command in (("onnx-trtcal", "-m onnx_trtcal"), ("python", ""), ("python3", "")):
            tool = folder / name
            tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
            tool.chmod(0o755)
        return folder


def _bare(line: str) -> str:
    """A line without what is quoted."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", line.split(" #")[0])
