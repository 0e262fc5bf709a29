"""The comparison runs, counts what is quantized, and reports a tool that fails; which tool wins is not its business."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal import QdqOptions, quantize
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.comparison import Evaluation, TensorError
from onnx_trtcal.evaluation.tasks.result import DetectionCounts

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
    from compare import cases, child, rows, table

    return {"cases": cases, "child": child, "rows": rows, "table": table}


def job_of(tool, output: Path, **changes: object):
    made = tool["child"].Job(
        "ours", "minmax", str(MODELS / "digits_mlp.onnx"), str(MODELS / "digits_calib.npy"), str(output), 8
    )
    return dataclasses.replace(made, **changes)


def evaluation(**changes: object) -> Evaluation:
    found = Evaluation(
        samples=4,
        tensors=(),
        outputs=(),
        classes=None,
        agreement=None,
        scores={},
        metric={},
        equal={},
    )
    return dataclasses.replace(found, **changes)


def output(name: str, sqnr: float) -> TensorError:
    return TensorError(name, "Conv", sqnr, None, 1.0, 0.0, float("inf"), 0)


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


def test_several_inputs_are_an_archive_with_an_array_each(tool, tmp_path: Path):
    np.savez(tmp_path / "s.npz", left=np.arange(11.0), right=np.arange(22.0).reshape(11, 2))
    stacks = tool["child"].read_stack(str(tmp_path / "s.npz"), (), 8)
    assert {name: stack.shape for name, stack in stacks.items()} == {"left": (8,), "right": (8, 2)}
    ends = ({"left": ["n"], "right": ["n", 2]}, {"y": ["n"]})
    onnx.save(toys.model([toys.node("Identity", "left", "y")], *ends, {}), tmp_path / "m.onnx")
    job = job_of(
        tool, tmp_path / "q.onnx", model=str(tmp_path / "m.onnx"), calibration=str(tmp_path / "s.npz")
    )
    batches = list(tool["child"]._Reader(dataclasses.replace(job, batch=4)))
    assert [batch["left"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert batches[1]["right"][3].tolist() == [14, 15]


@pytest.mark.slow
def test_flags_behind_the_method_are_those_of_quantize(tool, tmp_path: Path):
    job = job_of(tool, tmp_path / "q.onnx", method="minmax+weight-bits=7+exclude=MatMul")
    tool["child"].run_child(json.dumps(dataclasses.asdict(job)), str(tmp_path / "report.json"))
    cost = json.loads((tmp_path / "report.json").read_text())["cost"]
    assert cost["seconds"] > 0 and cost["cpu_seconds"] > 0 and cost["peak"] > 1 << 20
    options = tool["rows"].Options(method="minmax", provider="cpu", batch_size=8)
    qdq = QdqOptions(weight_bits=7, exclude=("MatMul",))
    wanted = quantize(job.model, np.load(job.calibration), options, qdq).proto()
    assert onnx.load(job.output).graph == wanted.graph


def test_a_model_that_was_kept_is_not_made_again(tool, tmp_path: Path):
    rows = tool["rows"]
    job = job_of(tool, tmp_path / "q.onnx")
    assert rows._kept(job) is None
    cost = {"seconds": 1.5, "cpu_seconds": 2.5, "peak": 7}
    Path(f"{job.output}.json").write_text(json.dumps({"job": dataclasses.asdict(job), "cost": cost}))
    assert rows._kept(job) is None  # the model is not there
    Path(job.output).write_bytes(b"")
    assert rows._kept(job) == rows.Cost(**cost)
    assert rows._kept(dataclasses.replace(job, method="minmax+round")) is None


def test_columns_without_a_value_are_left_out_and_the_worst_output_counts(tool):
    rows, case = tool["rows"], tool["cases"].Case("net", "m.onnx", "c.npy", "t.npy")
    plain = rows.Row(
        "ours", evaluation(outputs=(output("a", 30.0), output("b", 20.04))), 2, 3, rows.Cost(1, 2, 0)
    )
    failed = rows.Row("theirs", failed="it broke")
    text = tool["table"].case_table(case, [plain, failed])
    heading, *lines = table(text)
    assert heading == ["tool", "output SQNR dB", "layers INT8", "seconds", "CPU s", "peak MiB"]
    assert lines == [["ours", "20.0", "2 of 3", "1.0", "2.0", "0"]] and "theirs failed: it broke" in text

    counts = DetectionCounts("yolox", "asked for", 0.25, 0.5, 0.45, 20, 19, 17, 3, 2, 0.9)
    detector = dataclasses.replace(plain, found=evaluation(agreement=0.87, detection=counts))
    heading, fp32, line = table(tool["table"].case_table(case, [detector]))
    assert heading[1:4] == ["same answer", "detections kept", "invented"]
    assert fp32[:3] == ["FP32", "", "20"] and line[1:4] == ["87.00%", "17", "2"]

    classifier = evaluation(agreement=0.5, scores={"top-1": Merit(0.75, 0.5, 0.25)})
    heading, fp32, line = table(
        tool["table"].case_table(case, [dataclasses.replace(plain, found=classifier)])
    )
    assert fp32[1] == "75.00%" and line[1:4] == ["50.00%", "-25.00 ± 25.00", "50.00%"]


def test_nothing_that_ran_leaves_no_table_but_the_reasons(tool):
    case = tool["cases"].Case("net", "m.onnx", "c.npy", "t.npy")
    text = tool["table"].case_table(case, [tool["rows"].Row("ours", failed="it broke")])
    assert "|" not in text and "ours failed: it broke" in text
