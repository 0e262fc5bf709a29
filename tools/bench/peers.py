"""Plain inference and other people's calibrators, each used as its own documentation shows."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.inputs import read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from bench.process import Spec, Timer

__all__ = ["limit_cores", "modelopt", "ort_calibrator", "plain", "plain_default"]


def plain(spec: Spec, timer: Timer) -> None:
    """ONNX Runtime's forward of the original model, with only its own outputs, on so many threads."""
    with timer("start"):
        import onnxruntime as ort
    with timer("load"):
        session = _session(ort, spec.model, spec.threads)
    _forward(session, spec, timer)


def plain_default(spec: Spec, timer: Timer) -> None:
    """The same with the options that ONNX Runtime has when nobody sets any: as most people run a model."""
    with timer("start"):
        import onnxruntime as ort
    with timer("load"):
        session = ort.InferenceSession(spec.model, providers=["CPUExecutionProvider"])
    _forward(session, spec, timer)


def _forward(session: Any, spec: Spec, timer: Timer) -> None:
    with timer("run"):
        for batch in read_batches(spec.data, spec.batch, spec.samples):
            session.run(None, {spec.name: batch})
            timer.tick(len(batch))


def ort_calibrator(spec: Spec, timer: Timer, method: str) -> None:
    """A calibrator of onnxruntime.quantization with its default settings.

    What `create_calibrator` does, but for the number of threads. A model is copied first: the calibrators
    write beside it.
    """
    with timer("start"):
        import onnxruntime as ort
        from onnxruntime.quantization import calibrate
    with timer("load"):
        model = shutil.copy(spec.model, spec.scratch)
        made = str(Path(spec.scratch, "augmented.onnx"))
        if method == "minmax":
            calibrator: Any = calibrate.MinMaxCalibrater(model, augmented_model_path=made)
        elif method == "entropy":
            calibrator = calibrate.EntropyCalibrater(model, augmented_model_path=made)
        else:
            calibrator = calibrate.PercentileCalibrater(model, augmented_model_path=made, symmetric=True)
        calibrator.augment_graph()
        calibrator.infer_session = _session(ort, made, spec.threads, optimize=False)
    with timer("run"):
        calibrator.collect_data(_Reader(spec))
    with timer("solve"):
        calibrator.compute_data()


def modelopt(spec: Spec, timer: Timer) -> None:
    """modelopt.onnx.quantization with entropy calibration, which is done with a batch when it asks for the next."""
    with timer("start"):
        from modelopt.onnx.quantization import quantize
    reader = _Reader(spec, timer)
    begin = time.perf_counter()
    quantize(
        shutil.copy(spec.model, spec.scratch),
        calibration_method="entropy",
        calibration_data_reader=reader,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(Path(spec.scratch, "quantized.onnx")),
    )
    timer.add("load", reader.first - begin)
    timer.add("run", reader.last - reader.first)
    timer.add("solve", time.perf_counter() - reader.last)


class _Reader:
    """A CalibrationDataReader that notes when its first batch was asked for, and when its end was reached."""

    def __init__(self, spec: Spec, timer: Timer | None = None) -> None:
        self._spec = spec
        self._timer = timer
        self.first = self.last = 0.0
        self.rewind()

    def rewind(self) -> None:
        self._batches: Iterator[np.ndarray] = read_batches(
            self._spec.data, self._spec.batch, self._spec.samples
        )
        self.first = 0.0
        self._given = 0

    def get_first(self) -> dict[str, np.ndarray]:
        return {self._spec.name: next(read_batches(self._spec.data, self._spec.batch, self._spec.samples))}

    def get_next(self) -> dict[str, np.ndarray] | None:
        self.first = self.first or time.perf_counter()
        if self._given and self._timer:
            self._timer.tick(self._given)
        batch = next(self._batches, None)
        if batch is None:
            self.last = time.perf_counter()
            return None
        self._given = len(batch)
        return {self._spec.name: batch}


def _session(ort: Any, path: str, threads: int, *, optimize: bool = True) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not optimize:  # as the calibrators have it
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def limit_cores(threads: int) -> None:
    """Keeps this process on `threads` cores where the system can: not every peer has a setting for it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if threads < len(cores):
            os.sched_setaffinity(0, cores[:threads])
