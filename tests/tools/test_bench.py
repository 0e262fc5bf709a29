"""The bench runs and its tables are whole; how fast anything is, is nobody's business here."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from helpers.toys import model, node

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = ROOT / "models" / "digits_mlp.onnx", ROOT / "models" / "digits_calib.npy"


def bench(*arguments: object) -> list[list[list[str]]]:
    """Runs the bench and returns the tables it prints: rows of cells, the heading first."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "bench.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables: list[list[list[str]]] = [[]]
    for line in done.stdout.splitlines():
        if not line.startswith("|"):
            tables.append([])
        elif not line.startswith("| ---"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in tables if table]


@pytest.fixture(scope="module")
def compared() -> list[list[list[str]]]:
    return bench(MODEL, DATA, "--quick", "--samples", 12, "--batch", 4)


@pytest.mark.tools
@pytest.mark.slow
def test_every_contender_has_every_number(compared: list[list[list[str]]]) -> None:
    heading, *rows = compared[0]
    assert [row[0] for row in rows] == [
        "plain forward",
        "plain forward, ORT's defaults",
        "onnx_trtcal, entropy",
        "onnx_trtcal, nothing overlapped",
        "ORT MinMax",
        "ORT Entropy",
        "ORT Percentile",
    ]
    for row in rows:
        assert len(row) == len(heading)
        [float(cell) for cell in row[1:-1]]
        assert row[-1] in ("spin", "sleep")


@pytest.mark.tools
@pytest.mark.slow
def test_the_plain_forward_is_the_unit(compared: list[list[list[str]]]) -> None:
    heading, plain, *_ = compared[0]
    for column in ("× plain, whole run", "× plain, steady"):
        assert float(plain[heading.index(column)]) == 1
    assert float(plain[heading.index("over plain, MB")]) == 0


@pytest.mark.tools
@pytest.mark.slow
def test_the_stages_are_all_timed(compared: list[list[list[str]]]) -> None:
    heading, *rows = compared[1]
    stages = dict(zip(heading, next(row for row in rows if row[0] == "nothing overlapped"), strict=True))
    seconds = [float(value) for key, value in stages.items() if key != "seconds"]
    assert all(value > 0 for value in seconds)  # a stage that took no time was not measured
    assert sum(seconds[:-1]) <= 1.1 * seconds[-1]  # the wall holds them all


@pytest.mark.tools
@pytest.mark.slow
def test_every_target_is_told_as_met_or_not(compared: list[list[list[str]]]) -> None:
    _, *rows = compared[2]
    assert len(rows) == 9
    for _, _, _, measured, met in rows:
        float(measured)
        assert met in ("yes", "no")


@pytest.mark.tools
@pytest.mark.slow
def test_scaling_prints_a_table_for_each_axis() -> None:
    tables = bench("--scale", "--quick")
    assert [table[0][0] for table in tables] == ["samples", "groups", "batch"]
    for heading, *rows in tables:
        for row in rows:
            assert len(row) == len(heading)
            assert all(float(cell) > 0 for cell in row)


@pytest.mark.tools
@pytest.mark.slow
def test_the_kernel_is_timed_alone() -> None:
    values, tensors = bench("--kernel", "--quick")
    assert values[0][:3] == ["ns a value", "relu", "normal"]
    assert [len(row) for row in values] == [len(values[0])] * len(values)
    assert all(float(cell) > 0 for _, *row in [*values[1:], *tensors[1:]] for cell in row)


@pytest.mark.tools
@pytest.mark.parametrize(
    ("inputs", "arguments", "message"),
    [
        ({"a": [2], "b": [2]}, [], "2 inputs"),
        ({"a": ["N", "T"]}, [], "fixed"),
        ({"a": ["N", 2]}, ["--samples", 8], "not more than one batch of 8"),
        ({"a": [5, 2]}, ["--samples", 9], "5 samples are not more than one batch of 5"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: dict[str, list[int | str]],
    arguments: list[object],
    message: str,
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model([node("Relu", "a", "y")], inputs, ["y"]), path)
    tool = ROOT / "tools" / "bench.py"
    monkeypatch.syspath_prepend(str(tool.parent))  # as for a script
    monkeypatch.setattr("sys.argv", [str(tool), str(path), *map(str, arguments)])
    with pytest.raises(SystemExit, match=message) as ended:
        runpy.run_path(str(tool), run_name="__main__")
    assert isinstance(ended.value.code, str)  # which Python prints, and exits with 1


@pytest.mark.tools
@pytest.mark.slow
def test_searches_are_told_as_multiples_of_collecting() -> None:
    ((heading, row),) = bench("--search", "--quick", "--jobs", "auto,round")
    assert heading == ["model", "collect, s", "auto, s", "round, s"]
    assert row[0] == "digits_mlp"
    collecting = float(row[1])
    for cell in row[2:]:
        seconds, _, multiple = cell.partition(" (×")
        assert float(seconds) / collecting == pytest.approx(float(multiple.partition(",")[0]), rel=0.05)
