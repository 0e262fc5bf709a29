"""The reference of the documentation has every verb, every flag and every public name."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING

import pytest
from helpers.doc_pages import ROOT

import onnx_trtcal
from onnx_trtcal import errors
from onnx_trtcal.cli import VERBS, parser_for

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DOCS = ROOT / "tools" / "docs"


@pytest.fixture(scope="module")
def reference() -> str:
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "commands.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return str(module.reference())


def section(reference: str, parser: argparse.ArgumentParser) -> str:
    """What stands behind the parser's name, up to the next one's."""
    found = re.search(rf"```{{program}} {re.escape(parser.prog)}\n```(.*?)(?=\n#|\Z)", reference, re.DOTALL)
    assert found, parser.prog
    return found[1]


def parsers() -> Iterator[argparse.ArgumentParser]:
    for verb in VERBS:
        parser = parser_for(verb)
        yield parser
        for action in parser._actions:
            if isinstance(action.choices, dict):
                yield from action.choices.values()


def described(text: str) -> list[str]:
    """The names of all flags that a text describes."""
    heads = re.findall(r"(?m)^````{option} (.*)$", text)
    return [name for head in heads for name in re.findall(r"(?:^|, )(-[\w-]+)", head)]


def test_every_verb_has_all_its_flags(reference: str) -> None:
    for parser in parsers():
        text = section(reference, parser)
        linked = re.findall(r"{option}`(-[\w-]+) <", text)
        for action in parser._actions:
            if action.option_strings and action.dest not in ("help", "quiet", "verbose"):
                names = {*action.option_strings}
                assert names <= {*described(text)} or names & {*linked}, (parser.prog, action)


def test_what_is_linked_is_described_once(reference: str) -> None:
    # Behind the verbs, whose first is the program without a verb.
    shared = described("".join(reference.split("```{program} onnx-trtcal\n```")[2:]))
    assert len(set(shared)) == len(shared) > 40
    assert {*re.findall(r"{option}`(--[\w-]+) <", reference)} <= {*shared}


def test_help_texts_are_not_taken_for_markup(reference: str) -> None:
    # `--FLAG` in prose would be a dash, `*` emphasis, `[x]` a link.
    prose = re.sub(
        r"(`+)[^`]*\1", "", re.sub(r"(?m)^(````{option}|```{program}|```text\n).*$", "", reference)
    )
    assert not re.search(r"(?<![\\\w])\*\w", prose)
    assert not re.search(r"(?<=\s)--\w", prose)


def test_every_public_name_is_documented() -> None:
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"\.\. auto(?:function|class|exception):: (\w+)", page)
    family = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    wanted = {*onnx_trtcal.__all__, *family}
    assert set(named) == wanted, "each has a line in tools/docs/reference/api.md"
    assert len(set(named)) == len(named)


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = [path for path in DOCS.rglob("*.md") if "{toctree}" in path.read_text(encoding="utf-8")]
    listed = set()
    for tree in trees:
        for body in re.findall(r"```{toctree}\n(.*?)```", tree.read_text(encoding="utf-8"), re.DOTALL):
            lines = [line for line in body.splitlines() if line and not line.startswith(":")]
            listed |= {(tree.parent / f"{line}.md").resolve() for line in lines}
    assert set(DOCS.rglob("*.md")) - {DOCS / "README.md", DOCS / "index.md"} == listed
