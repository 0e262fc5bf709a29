"""compare, evaluate and sensitivity on a terminal, and in a pipe."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.terminals import on_terminal, without_escapes

from onnx_trtcal import Options, calibrate, save_statistics
from onnx_trtcal.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
LAYERS = 13
DRAWN = set("▁▂▃▄▅▆▇█▏▎▍▌▋▊▉")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of thirteen layers whose names are long, data, and statistics."""
    folder = tmp_path_factory.mktemp("job")
    random = np.random.default_rng(0)
    names = ["x", *(f"/model/layers.{at}/mlp/MatMul_output_0" for at in range(LAYERS))]
    nodes = [toys.node("MatMul", [a, f"w{at}"], [b]) for at, (a, b) in enumerate(itertools.pairwise(names))]
    weights = {f"w{at}": random.normal(0, 0.4, (8, 8)).astype(np.float32) for at in range(LAYERS)}
    model = toys.model(nodes, {"x": ["n", 8]}, {names[-1]: ["n", 8]}, weights)
    onnx.save(model, folder / "m.onnx")
    data = random.normal(0, 1, (64, 8)).astype(np.float32)
    np.save(folder / "d.npy", data)
    found = calibrate(model, [*data], Options(provider="cpu", threads=1))
    save_statistics(folder / "a.stats", found.collection)
    return folder


def compare(job: Path, *flags: str) -> list[str]:
    return ["compare", str(job / "a.stats"), str(job / "m.onnx"), *flags]


def evaluate(job: Path, *flags: str, verb: str = "evaluate") -> list[str]:
    return [
        verb,
        str(job / "m.onnx"),
        str(job / "d.npy"),
        "--stats",
        str(job / "a.stats"),
        "--provider",
        "cpu",
        *flags,
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_compare_draws_on_a_terminal_and_fits(job: Path, width: int) -> None:
    code, got = on_terminal(compare(job), width, {})
    lines = without_escapes(got).splitlines()
    assert code == 0 and lines[0].startswith("verdict: ") and got.startswith("\x1b[1mverdict")
    head = next(at for at, line in enumerate(lines) if line.startswith("  tensor"))
    rows = lines[head + 1 : head + 11]
    assert all(line.startswith("  ") and len(line) <= width and DRAWN & set(line) for line in rows), rows
    assert lines[head + 11] == "  ... and 4 more (-v shows all)"
    assert ("distribution" in lines[head]) == (width > 40) and ("entropy" in lines[head]) == (width == 120)


def test_without_colours_without_block_characters_and_on_a_dumb_terminal(job: Path, capsys: Capture) -> None:
    _, coloured = on_terminal(compare(job), 100, {})
    code, bare = on_terminal(compare(job), 100, {"NO_COLOR": "1"})
    assert code == 0 and "\x1b" not in bare and bare == without_escapes(coloured) and DRAWN & set(bare)
    assert main(compare(job)) == 0
    piped = capsys.readouterr().out
    assert on_terminal(compare(job), 100, {"TERM": "dumb"}) == (0, piped)
    assert on_terminal(compare(job), 100, {}, "cp1252") == (0, piped)


def test_in_a_pipe_there_are_columns_and_nothing_else(job: Path, capsys: Capture) -> None:
    assert main(compare(job)) == 0
    said = capsys.readouterr().out
    verdict, _, title, head, *rows, more = said.splitlines()
    assert not DRAWN & set(said) and "\x1b" not in said
    assert verdict.startswith("verdict: ") and "the 10 of 14 tensors" in title
    assert more == "  ... and 4 more (-v shows all)" and len(rows) == 10
    assert {len(row.split()) for row in rows} == {3 + 5 * 3 + 2} and head.split()[0] == "tensor"
    assert main(compare(job, "-v")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[4:]] == ["x"] + [
        f"/model/layers.{at}/mlp/MatMul_output_0" for at in range(LAYERS)
    ]
    # Those that are left out differ least.
    spreads = {line.split()[0]: float(line.split()[-1]) for line in lines[4:]}
    shown = {row.split()[0] for row in rows}
    assert min(spreads[name] for name in shown) >= max(spreads[name] for name in spreads.keys() - shown)


def test_one_method_is_compared_with_none(job: Path, capsys: Capture) -> None:
    assert main(compare(job, "--method", "mse")) == 0
    said = capsys.readouterr().out
    assert said.startswith("verdict: mse gives at least ") and "tensors that lose most" in said
    _, got = on_terminal(compare(job, "--method", "mse", "-v"), 80, {"NO_COLOR": "1"})
    assert "spread" not in got and "best" not in got and got.count("█") > LAYERS and "more (-v" not in got


def test_evaluate_draws_noise_and_its_way_through_the_network(job: Path) -> None:
    code, got = on_terminal(evaluate(job), 80, {"NO_COLOR": "1"})
    lines = got.splitlines()
    verdict = next(at for at, line in enumerate(lines) if line.startswith("verdict: "))
    table = next(at for at, line in enumerate(lines) if line.startswith("INT8 against FP32"))
    assert code == 0 and verdict < table and "the 10 worst of 14" in lines[table]
    rows = lines[table + 2 : table + 12]
    assert all(DRAWN & set(row) and len(row) <= 80 for row in rows)
    assert [row.count("█") for row in rows] == sorted((row.count("█") for row in rows), reverse=True)
    assert lines[table + 12] == "  ... and 4 more (-v shows all)"
    assert lines[table + 13].startswith("noise from the inputs to the outputs: ")
    assert len(lines[table + 13].rpartition(": ")[2]) == 14


def test_sensitivity_draws_what_each_group_does(job: Path, capsys: Capture) -> None:
    flags = ("--max-samples", "16", "--worst", "2")
    code, got = on_terminal(evaluate(job, *flags, verb="sensitivity"), 80, {"NO_COLOR": "1"})
    lines = got.splitlines()
    first = next(at for at, line in enumerate(lines) if "verdict: " in line)
    table = next(at for at, line in enumerate(lines) if line.startswith("this group alone"))
    assert code == 0 and first < table and lines[table].endswith("the first 10 of 13:")
    assert all(DRAWN & set(row) and len(row) <= 80 for row in lines[table + 2 : table + 12])
    kept = next(at for at, line in enumerate(lines) if line.startswith("  kept in floating")) + 1
    assert lines[kept].count("█") > lines[kept + 2].count("█")
    assert main([*evaluate(job, *flags, verb="sensitivity"), "-v"]) == 0
    said = capsys.readouterr().out
    assert said.count("MatMul_output_0  ") >= LAYERS and "more (-v" not in said and not DRAWN & set(said)
