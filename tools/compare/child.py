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
        method: the tool's own name of its calibration method.
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
    """Does a job given as JSON, and writes seconds and peak memory as JSON."""
    job = Job(**json.loads(text))
    seconds = {"ours": _ours, "ort": _ort, "modelopt": _modelopt}[job.tool](job)
    Path(report).write_text(json.dumps({"seconds": seconds, "peak": _peak(), "job": asdict(job)}))


def read_stack(path: str, shape: tuple[int, ...], multiple: int = 1) -> Any:
    """The samples of a .npy file, one per row, read when they are used.

    Args:
        path: of the file.
        shape: of a sample; empty where the stack has it already.
        multiple: leave samples at the end out, so that this divides their number.
    """
    import numpy as np

    stack = np.load(path, mmap_mode="r")
    stack = stack[: len(stack) // multiple * multiple]
    return stack.reshape(len(stack), *shape) if shape else stack


def _ours(job: Job) -> float:
    import onnxruntime  # noqa: F401

    import onnx_trtcal.methods.entropy
    import onnx_trtcal.qdq.write.quantize_model
    import onnx_trtcal.stats.sweep  # noqa: F401
    from onnx_trtcal import Options, quantize

    begin = time.perf_counter()
    options = Options(method=job.method, provider="cpu", batch_size=job.batch)
    quantize(job.model, read_stack(job.calibration, job.shape, _WHOLE_BATCHES), options).save(job.output)
    return time.perf_counter() - begin


def _ort(job: Job) -> float:
    """quantize_static as its documentation shows, on a model prepared by quant_pre_process."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    begin = time.perf_counter()
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
    return time.perf_counter() - begin


def _modelopt(job: Job) -> float:
    from modelopt.onnx.quantization import quantize

    begin = time.perf_counter()
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
    return time.perf_counter() - begin


class _Reader:
    """A CalibrationDataReader over a stack of samples."""

    def __init__(self, job: Job) -> None:
        import onnx

        graph = onnx.load(job.model, load_external_data=False).graph
        weights = {item.name for item in graph.initializer}
        inputs = [item for item in graph.input if item.name not in weights]
        if len(inputs) != 1:
            raise SystemExit(f"{job.model} has {len(inputs)} inputs; models with one are compared")
        self._name = inputs[0].name
        self._job = job
        self.rewind()

    def rewind(self) -> None:
        self._batches = self._read()

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}

    def get_first(self) -> dict[str, Any]:
        return {self._name: next(self._read())}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch

    def _read(self) -> Iterator[Any]:
        import numpy as np

        stack = read_stack(self._job.calibration, tuple(self._job.shape), _WHOLE_BATCHES)
        for first in range(0, len(stack), self._job.batch):
            yield np.array(stack[first : first + self._job.batch])


def _peak() -> int:
    # Linux keeps ru_maxrss across exec, so that it can be the parent's: /proc tells this process's own.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
