"""What runs in a process of its own: one tool makes one Q/DQ model.

Imports only what the tool needs: the process may run in an environment that has nothing else.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Job", "read_stack", "run_child"]

# ONNX Runtime's histogram calibrators fail on a last batch that is smaller: nobody is given one.
_WHOLE_BATCHES = 8


@dataclass(frozen=True)
class Job:
    """One tool, one model.

    Attributes:
        tool: `ours`, `ort` or `modelopt`.
        method: the tool's own name of its calibration method; of ours, flags of `quantize` may follow, each after a
            plus sign and without its dashes.
        model, calibration: paths.
        output: the Q/DQ model to write.
        batch: samples per run.
        shape: of a sample; empty where the stack has it already.
    """

    tool: str
    method: str
    model: str
    calibration: str
    output: str
    batch: int
    shape: tuple[int, ...] = ()


def run_child(text: str, report: str) -> None:
    """Does a job given as JSON, and writes what it took as JSON: see `rows.Cost`."""
    job = Job(**json.loads(text))
    seconds, cpu_seconds = {"ours": _ours, "ort": _ort, "modelopt": _modelopt}[job.tool](job)
    cost = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": _peak()}
    Path(report).write_text(json.dumps({"job": asdict(job), "cost": cost}))


def read_stack(path: str, shape: tuple[int, ...], multiple: int = 1) -> Any:
    """The samples of a .npy file, one per row, read when they are used; of a .npz file, input name -> such an array.

    Args:
        path: of the file.
        shape: of a sample; empty where the stack has it already.
        multiple: leave samples at the end out, so that this divides their number.
    """
    import numpy as np

    if path.endswith(".npz"):
        with np.load(path) as arrays:
            return {name: _whole(arrays[name], multiple) for name in arrays.files}
    stack = _whole(np.load(path, mmap_mode="r"), multiple)
    return stack.reshape(len(stack), *shape) if shape else stack


def _whole(stack: Any, multiple: int) -> Any:
    return stack[: len(stack) // multiple * multiple]


def _ours(job: Job) -> tuple[float, float]:
    import onnxruntime  # noqa: F401

    import onnx_trtcal.methods.entropy
    import onnx_trtcal.qdq.write.quantize_model
    import onnx_trtcal.stats.bin_table  # noqa: F401
    from onnx_trtcal import quantize
    from onnx_trtcal.cli import parser_for
    from onnx_trtcal.cli.flags import options_from, qdq_from

    begin = _clocks()
    method, *flags = job.method.split("+")
    fixed = ["--method", method, "--provider", "cpu", "--batch-size", str(job.batch)]
    asked = [job.model, job.calibration, *fixed, *(f"--{flag}" for flag in flags)]
    args = parser_for("quantize").parse_args(asked)
    data = read_stack(job.calibration, job.shape, _WHOLE_BATCHES)
    quantize(job.model, data, options_from(args), qdq_from(args)).save(job.output)
    return _since(begin)


def _ort(job: Job) -> tuple[float, float]:
    """quantize_static as its documentation shows, on a model prepared by quant_pre_process."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    begin = _clocks()
    prepared = f"{job.output}.prepared.onnx"
    try:
        quant_pre_process(job.model, prepared)
    except Exception as error:  # noqa: BLE001 (symbolic shape inference fails in many ways)
        sys.stderr.write(f"quant_pre_process failed ({type(error).__name__}), continuing without it\n")
        shutil.copy(job.model, prepared)
    quantize_static(
        prepared,
        job.output,
        _Reader(job),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod[job.method],
        calibration_providers=["CPUExecutionProvider"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    return _since(begin)


def _modelopt(job: Job) -> tuple[float, float]:
    from modelopt.onnx.quantization import quantize

    begin = _clocks()
    model = f"{job.output}.copy.onnx"
    shutil.copy(job.model, model)
    quantize(
        model,
        calibration_method=job.method,
        calibration_data_reader=_Reader(job),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=job.output,
    )
    return _since(begin)


class _Reader:
    """A CalibrationDataReader over stacks of samples, one for each input."""

    def __init__(self, job: Job) -> None:
        import onnx

        graph = onnx.load(job.model, load_external_data=False).graph
        weights = {item.name for item in graph.initializer}
        self._inputs = [item.name for item in graph.input if item.name not in weights]
        self._job = job
        self.rewind()

    def rewind(self) -> None:
        self._batches = self._read()

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)

    def get_first(self) -> dict[str, Any]:
        return next(self._read())

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch

    def _read(self) -> Iterator[dict[str, Any]]:
        import numpy as np

        job = self._job
        read = read_stack(job.calibration, tuple(job.shape), _WHOLE_BATCHES)
        stacks = read if isinstance(read, dict) else {self._inputs[0]: read}
        if missing := [name for name in self._inputs if name not in stacks]:
            raise SystemExit(f"{job.calibration} holds nothing for the input {missing[0]} of {job.model}")
        for first in range(0, len(stacks[self._inputs[0]]), job.batch):
            yield {name: np.array(stacks[name][first : first + job.batch]) for name in self._inputs}


def _clocks() -> tuple[float, float]:
    """Seconds on the clock, and of this process's CPU time."""
    return time.perf_counter(), time.process_time()


def _since(begin: tuple[float, float]) -> tuple[float, float]:
    now = _clocks()
    return now[0] - begin[0], now[1] - begin[1]


def _peak() -> int:
    # Linux keeps ru_maxrss across exec, so that it can be the parent's: /proc tells this process's own.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
