"""tools/scaling.py computes what its measurements come to."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "scaling.py"


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_table_adds_up(scaling: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--images", "1000000", "--workers", "100", "--rate", "50", "--samples", "16"]
    scaling.main([*given, "--files", "32", "--held", "300", "--listed", "300", "--runs", "3"])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    rows = {cells[0]: cells[1] for cells in lines if len(cells) == 3}
    assert rows["workers, shards"] == "100, 400" and rows["images/s of a worker"] == "50.0"
    assert rows["counting, ideal"] == "3.3 min"
    assert 0 < float(rows["the merge's share"].rstrip("%")) < 100
    assert rows["merge of 32 files here"].endswith(" s")


def test_lost_workers_cost_their_shards_and_no_others(
    scaling: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "SPREAD", 0.0)
    monkeypatch.setattr(scaling, "LOSS", 1e-9)
    assert scaling.simulated(10, 40, work=50.0, fixed=2.0, seed=1) == (4 * 52.0, 0)
    monkeypatch.setattr(scaling, "LOSS", 60.0)
    seconds, again = scaling.simulated(10, 40, work=50.0, fixed=2.0, seed=1)
    assert again > 5 and 4 * 52.0 < seconds < 4 * 52.0 + again * (52.0 + scaling.RESTART)


def test_a_tree_of_merges_in_numbers(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "NETWORK", float("inf"))
    measured = scaling.Measured(1.0, 0.0, 1000.0, 10.0, 0.5, 0.001, 0.0, 0, 0.0)
    seconds, levels, moved = scaling.tree(measured, 256, 25600)
    assert levels == 2
    assert seconds == pytest.approx(2 * 16 * 0.5 + (1600 + 25600) * 0.001)
    assert moved == pytest.approx(256 * 1000 + 16 * 1000 + 2 * 25600 * 10)
