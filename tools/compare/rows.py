"""Runs the contenders on one case and evaluates what they made."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compare.child import Job, read_stack
from onnx_trtcal import CalibrationError, EvaluationOptions, Options, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compare.cases import Case
    from onnx_trtcal.evaluation.comparison import Evaluation

__all__ = ["Contender", "Row", "compare_case", "contenders"]

ENTRY = Path(__file__).resolve().parents[1] / "compare_tools.py"
TIMEOUT = 3600  # seconds after which a contender is given up


@dataclass(frozen=True)
class Contender:
    """A tool and a method of it; `batch` is None where the case's own is taken."""

    name: str
    tool: str
    method: str
    batch: int | None = None


@dataclass(frozen=True)
class Row:
    """What came out: nothing but a reason in `failed` where the tool gave up."""

    name: str
    found: Evaluation | None = None
    quantized: int = 0
    weighted: int = 0
    cost: Cost | None = None
    failed: str = ""


@dataclass(frozen=True)
class Cost:
    """What making a Q/DQ model took: seconds on the clock and of CPU time, and most bytes in memory."""

    seconds: float
    cpu_seconds: float
    peak: int


def contenders(ours: Sequence[str], modelopt: str | None, wanted: Sequence[str] | None) -> list[Contender]:
    """All rows to measure, ours first."""
    rows = [Contender(f"ours, {method}", "ours", method) for method in ours]
    rows += [Contender(f"ONNX Runtime, {name}", "ort", name) for name in ("MinMax", "Entropy", "Percentile")]
    if modelopt:
        rows += [
            Contender(f"ModelOpt, {method}, batch {batch}", "modelopt", method, batch)
            for method in ("entropy", "max")
            for batch in (1, 8)
        ]
    return [row for row in rows if not wanted or row.name in wanted]


def compare_case(
    case: Case, rows: Sequence[Contender], modelopt: str | None, folder: Path, say: Callable[[str], None]
) -> list[Row]:
    """Lets every contender make its Q/DQ model of a case in `folder`, and evaluates it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for contender in rows:
        if contender.batch and contender.batch > 1 and _batch_is_fixed(case.model):
            continue
        say(f"{case.name}: {contender.name}")
        python = modelopt if contender.tool == "modelopt" and modelopt else sys.executable
        name = "".join(
            sign if sign.isalnum() or sign in ".+=" else "-" for sign in f"{case.name}-{contender.name}"
        )
        output = folder / f"{name}.onnx"
        job = Job(
            contender.tool,
            contender.method,
            case.model,
            case.calibration,
            str(output),
            contender.batch or case.batch,
            case.shape,
        )
        found.append(_row(case, contender, job, python))
    return found


def _row(case: Case, contender: Contender, job: Job, python: str) -> Row:
    made = _kept(job) or _made(job, python)
    if isinstance(made, str):
        return Row(contender.name, failed=made)
    try:
        request = EvaluationOptions(
            options=Options(provider="cpu"),
            quantized=job.output,
            labels=case.labels or None,
            metric=case.metric,
            task=case.task,
            head=case.head,
        )
        found = evaluate(case.model, read_stack(case.test, case.shape), request)
    except CalibrationError as error:
        return Row(contender.name, cost=made, failed=str(error).splitlines()[0])
    quantized, weighted = _share(case.model, job.output)
    return Row(contender.name, found, quantized, weighted, made)


def _kept(job: Job) -> Cost | None:
    """What the job took, where an earlier run did it and its model is still there."""
    report = _report(job)
    if not report.exists() or not Path(job.output).exists():
        return None
    read = json.loads(report.read_text())
    same = read["job"] == json.loads(json.dumps(asdict(job)))
    return Cost(**read["cost"]) if same else None


def _made(job: Job, python: str) -> Cost | str:
    """Lets a process of its own do the job; what it took, or why there is no model."""
    report = _report(job)
    report.unlink(missing_ok=True)
    Path(job.output).unlink(missing_ok=True)
    command = [python, str(ENTRY), "--child", json.dumps(asdict(job)), str(report)]
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=scratch, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it was given up after {TIMEOUT} seconds"
    if done.returncode or not Path(job.output).exists():
        return _last_error(done.stderr)
    return Cost(**json.loads(report.read_text())["cost"])


def _report(job: Job) -> Path:
    return Path(f"{job.output}.json")


def _last_error(stderr: str) -> str:
    """The line that names the last exception of a traceback, without what it says below."""
    lines = [line for line in stderr.splitlines() if line and not line[0].isspace()]
    return next((line for line in reversed(lines) if "Error" in line), (lines or ["it wrote no model"])[-1])[
        :200
    ]


def _share(model: str, quantized: str) -> tuple[int, int]:
    """Weighted ops of the Q/DQ model both of whose inputs come from a DQ, and weighted ops of the original."""
    import onnx

    kinds = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
    commuting = {"Concat", "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
    original = onnx.load(model, load_external_data=False).graph
    graph = onnx.load(quantized, load_external_data=False).graph
    maker = {name: node for node in graph.node for name in node.output}

    def dequantized(name: str) -> bool:
        node = maker.get(name)
        if node is None:
            return False
        if node.op_type == "DequantizeLinear":
            return True
        above = node.input if node.op_type == "Concat" else node.input[:1]
        return node.op_type in commuting and all(dequantized(each) for each in above)

    count = sum(
        all(dequantized(name) for name in node.input[:2]) for node in graph.node if node.op_type in kinds
    )
    return count, sum(node.op_type in kinds for node in original.node)


def _batch_is_fixed(model: str) -> bool:
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    first = next(item for item in graph.input if item.name not in weights)
    dims = first.type.tensor_type.shape.dim
    return bool(dims) and dims[0].HasField("dim_value") and dims[0].dim_value > 0
