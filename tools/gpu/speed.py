"""How fast a model's activations are counted on the GPU, against running the model alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnxruntime as ort

from onnx_trtcal.graph.probe import probe
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run.session import Session
from onnx_trtcal.stats.cuda.counter import CudaCounter
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import onnx

    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.stats.cuda.gpu import Gpu

WARM = 3  # runs before the clock starts: algorithms are chosen, memory is grown, kernels are compiled


@dataclass(frozen=True)
class Speed:
    """Medians of one layout, in seconds per batch; memory in bytes.

    Attributes:
        plain: the original model with its own outputs.
        observed: the observed model, every activation left on the device.
        calibrated: the same and counted.
        values: counted per batch.
        equal: whether the GPU's histograms equal the CPU's over the same activations.
        memory: most device memory in use by all of it.
    """

    plain: float
    observed: float
    calibrated: float
    values: int
    equal: bool
    memory: int

    @property
    def kernel(self) -> float:
        """Nanoseconds per value that counting adds."""
        return (self.calibrated - self.observed) / self.values * 1e9


def measure_speed(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    provider: Provider,
    device: str,
    gpu: Gpu,
    rounds: int,
) -> Speed:
    """Runs the three in turn, `rounds` times each."""
    free = gpu.free_memory()
    least = free
    options = ort.SessionOptions()
    options.log_severity_level = 4
    plain = ort.InferenceSession(model.SerializeToString(), options, providers=list(provider.ort_names))
    prepared = prepare(model, Options())
    tensors = prepared.plan.observed
    observed = Session(probe(prepared.observed, prepared.model, tensors), provider)
    histograms = {name: Histogram() for name in tensors}
    counts = CudaCounter(gpu, histograms)
    batches = 0

    def run_observed() -> dict[str, object]:
        return dict(zip(tensors, observed.run_to_count(feeds, "random", device), strict=True))

    def calibrate() -> None:
        nonlocal batches
        arrays = run_observed()
        counts.add({name: array for name, array in arrays.items() if isinstance(array, DeviceArray)})
        batches += 1

    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.run(None, dict(feeds)),
        "observed": run_observed,
        "calibrated": calibrate,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(WARM + rounds):
        for way, act in ways.items():
            begin = time.perf_counter()
            act()
            if turn >= WARM:
                times[way].append(time.perf_counter() - begin)
            least = min(least, gpu.free_memory())
    counts.settle()
    # The same activations on both sides, whatever the device computes.
    arrays = {name: array for name, array in run_observed().items() if isinstance(array, DeviceArray)}
    again = {name: Histogram() for name in arrays}
    on_device = CudaCounter(gpu, again)
    on_device.add(arrays)
    on_device.settle()
    on_host = {name: Histogram() for name in arrays}
    for name, array in arrays.items():
        on_host[name].add(gpu.download(array))
    medians = {way: statistics.median(taken) for way, taken in times.items()}
    values = sum(array.size for array in arrays.values())
    seen = sum(histograms[name].total for name in arrays)
    equal = again == on_host and len(arrays) == len(tensors) and seen == values * batches
    return Speed(**medians, values=values, equal=equal, memory=free - least)
