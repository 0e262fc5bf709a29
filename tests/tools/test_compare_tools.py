"""The comparison runs, counts what is quantized, and reports a tool that fails; which tool wins is not its business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import toys

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "compare_tools.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    """The tool's own modules."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from compare import cases, child, rows

    return {"cases": cases, "child": child, "rows": rows}


def table(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.tools
@pytest.mark.slow
def test_a_row_has_every_number(tmp_path: Path):
    flags = ["--ours", "minmax", "--tool", "ours, minmax", "--tool", "ONNX Runtime, MinMax"]
    done = compare(ROOT / "tools" / "compare" / "bundled.toml", "--only", "digits_mlp", *flags)
    assert done.returncode == 0, done.stderr
    heading, fp32, *rows = table(done.stdout)
    assert fp32[:2] == ["FP32", "98.33%"]
    assert [row[0] for row in rows] == ["ours, minmax", "ONNX Runtime, MinMax"]
    for row in rows:
        cells = dict(zip(heading, row, strict=True))
        assert cells["layers INT8"] == "3 of 3" and all(cells.values())
        assert float(cells["output SQNR dB"]) > 20 and " ± " in cells["against FP32"]


@pytest.mark.tools
@pytest.mark.slow
def test_a_tool_that_fails_is_reported_and_the_others_go_on(tmp_path: Path):
    case = {
        "name": "mlp",
        "model": str(MODELS / "digits_mlp.onnx"),
        "calibration": str(MODELS / "digits_calib.npy"),
        "test": str(MODELS / "digits_test.npy"),
    }
    (tmp_path / "c.json").write_text(json.dumps({"case": [case]}))
    flags = ["--ours", "nonsense,minmax", "--tool", "ours, nonsense", "--tool", "ours, minmax"]
    done = compare(tmp_path / "c.json", *flags)
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in table(done.stdout)[1:]] == ["ours, minmax"]
    assert "ours, nonsense failed: " in done.stdout and "'nonsense' is not a method" in done.stdout


def test_paths_are_relative_to_the_file(tool, tmp_path: Path):
    (tmp_path / "c.toml").write_text(
        '[[case]]\nname = "a"\nmodel = "m.onnx"\ncalibration = "c.npy"\ntest = "t.npy"\nshape = [1, 2]\n'
        '[[case]]\nname = "b"\nmodel = "m.onnx"\ncalibration = "c.npy"\ntest = "t.npy"\nmetric = "f.py:g"\n'
    )
    first, second = tool["cases"].read_cases(tmp_path / "c.toml", None)
    assert (first.model, first.shape, first.labels) == (str(tmp_path / "m.onnx"), (1, 2), "")
    assert second.metric == str(tmp_path / "f.py:g")
    assert tool["cases"].read_cases(tmp_path / "c.toml", ["b"]) == [second]
    with pytest.raises(SystemExit, match="it has a, b"):
        tool["cases"].read_cases(tmp_path / "c.toml", ["c"])


def test_only_what_reads_both_inputs_from_dq_counts(tool, tmp_path: Path):
    constants = {
        "w": np.ones((4, 4), np.float32),
        "qw": np.ones((4, 4), np.int8),
        "s": np.float32(0.1),
        "z": np.int8(0),
    }
    ends = ({"x": ["n", 4]}, {"y": ["n", 4]})
    products = [
        toys.node("MatMul", "x w", "a"),
        toys.node("MatMul", "a w", "b"),
        toys.node("MatMul", "b w", "y"),
    ]
    onnx.save(toys.model(products, *ends, constants), tmp_path / "m.onnx")
    nodes = [
        toys.node("QuantizeLinear", "x s z", "xq"),
        toys.node("DequantizeLinear", "xq s z", "xd"),
        toys.node("DequantizeLinear", "qw s z", "wd"),
        toys.node("Transpose", "xd", "t"),
        toys.node("Transpose", "t", "tt"),
        toys.node("MatMul", "tt wd", "a"),  # both, through ops that commute
        toys.node("MatMul", "a wd", "b"),  # the weight alone
        toys.node("MatMul", "b w", "y"),  # neither
    ]
    onnx.save(toys.model(nodes, *ends, constants), tmp_path / "q.onnx")
    assert tool["rows"]._share(str(tmp_path / "m.onnx"), str(tmp_path / "q.onnx")) == (1, 3)


def test_stacks_are_cut_to_whole_batches_and_reshaped(tool, tmp_path: Path):
    np.save(tmp_path / "s.npy", np.arange(66).reshape(11, 6))
    stack = tool["child"].read_stack(str(tmp_path / "s.npy"), (2, 3), 8)
    assert stack.shape == (8, 2, 3) and stack[7, 1, 2] == 47
