"""The recipes, the quick start, the decision tree and the formats of the documentation run as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.doc_pages import ROOT, PageRun, blocks
from helpers.recipe_models import SETUPS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOCS = ROOT / "tools" / "docs"
PAGES = {
    path.stem: path
    for path in (
        DOCS / "quickstart.md",
        DOCS / "accuracy.md",
        *sorted((DOCS / "recipes").glob("*.md")),
        *sorted((DOCS / "formats").glob("*.md")),
    )
    if path.stem != "index"
}


@pytest.fixture(scope="module")
def runs() -> dict[str, PageRun]:
    """The pages that have been run, by name."""
    return {}


@pytest.fixture
def run_page(
    runs: dict[str, PageRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], PageRun]:
    """Runs a page in a folder of its own, once."""

    def run(name: str) -> PageRun:
        if name not in runs:
            SETUPS[name](tmp_path)
            monkeypatch.chdir(tmp_path)
            # On a slow machine there would be lines of progress among the others.
            monkeypatch.setattr("onnx_trtcal.cli.console._SECONDS_BETWEEN_LINES", 1e9)
            runs[name] = PageRun(PAGES[name], tmp_path)
            runs[name].run()
        return runs[name]

    return run


def test_every_page_has_its_models() -> None:
    assert {*PAGES} == {*SETUPS}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs(name: str, run_page: Callable[[str], PageRun]) -> None:
    assert run_page(name).ran


PACKAGES = [
    (name, package)
    for name, path in PAGES.items()
    for package in sorted(
        {each for block in blocks(path.read_text(encoding="utf-8")) for each in block.needs}
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), PACKAGES)
def test_blocks_that_need_a_package_are_run_where_it_is_installed(
    name: str, package: str, run_page: Callable[[str], PageRun]
) -> None:
    pytest.importorskip(package, reason=f"{name}.md has blocks that need {package}")
    assert not [why for why in run_page(name).left.values() if package in why.split(" ")]


def test_what_is_not_run_says_why() -> None:
    for path in PAGES.values():
        for block in blocks(path.read_text(encoding="utf-8")):
            where = f"{path.name}:{block.line}"
            if "not run" in block.marks:
                assert block.marks["not run"].startswith("needs "), where
            assert block.language in ("sh", "python", "text", "toml", "yaml"), where
