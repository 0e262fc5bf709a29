"""The counting kernel in numba's CUDA simulator: run by test_cuda.py, in a process of its own.

Python runs the kernel's source, one interpreter thread per CUDA thread, so arrays are small; windows and spans
are made small with them, so that every way through the kernel is taken.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers.host_memory import DTYPES, HostMemory, device_array
from helpers.slow_histogram import counted
from helpers.toys import model, node

from onnx_trtcal.counting import measure
from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import calibrate
from onnx_trtcal.stats import cuda
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.cuda import check_gpu
from onnx_trtcal.stats.cuda.counter import CudaCounter
from onnx_trtcal.stats.cuda.device import CudaDevice
from onnx_trtcal.stats.cuda.gpu import Gpu
from onnx_trtcal.stats.cuda.layout import DEFAULT, LAYOUTS, Layout
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.support.progress import LoggingListener

SMALL = {
    "halves": Layout(slots=128, packed=True, span=45, threads=5),
    "words": Layout(slots=64, packed=False, span=120, threads=5),
    "global": Layout(slots=0, packed=False, span=50, threads=5),
}


def on_device(gpu: Gpu, batches: list[dict[str, np.ndarray]], rule: str) -> dict[str, Histogram]:
    histograms = {name: Histogram(rule) for name in batches[0]}
    counts = CudaCounter(gpu, histograms)
    for batch in batches:
        counts.add({name: device_array(array) for name, array in batch.items()})
    counts.settle()
    return histograms


def on_host(batches: list[dict[str, np.ndarray]], rule: str) -> dict[str, Histogram]:
    return {name: counted(*(batch[name] for batch in batches), rule=rule) for name in batches[0]}


def activations(seed: int, scale: float, size: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = (random.standard_normal(size) * scale).astype(np.float32)
    values[::5] = 0
    values[3:6] = np.nan, np.inf, -np.inf
    values[7:9] = -0.0, 1e-41
    values[20:40] = abs(values[20])  # an operator that saturates
    return values


def as_all(values: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore"):
        return {name: values.astype(dtype) for name, dtype in DTYPES.items()}


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("layout", list(SMALL))
def test_every_layout_and_dtype_counts_what_the_host_counts(layout: str, rule: str) -> None:
    """Ranges grow in the second batch and fit the third; many tensors of several sizes share each launch."""
    batches = []
    for seed, scale in enumerate((0.4, 70.0, 1.0)):
        batch = as_all(activations(seed, scale))
        batch |= {f"short {k}": activations(seed, scale)[k : k + k * k] for k in (1, 9)}
        batches.append(batch | {"empty": np.zeros((0, 3), np.float32), "zeros": np.zeros(80, np.float16)})
    gpu = Gpu(SMALL[layout], HostMemory())
    assert on_device(gpu, batches, rule) == on_host(batches, rule)


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_edges_of_bins_and_of_float32(rule: str) -> None:
    edges = np.ldexp(np.arange(1, 32769, 1311, dtype=np.float32), -15)
    around = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.float32(2))])
    tiny = np.array([0, 2.0**-149, 2.0**-140, 2.0**-127, 2.0**-126, 0.9 * 2.0**-126], np.float32)
    huge = np.array([3.4028235e38, 2.0**127, 1e38, 1.0, -1e-38], np.float32)
    halves = np.arange(1, 0x7C00, 397, dtype=np.uint16).view(np.float16)
    gpu = Gpu(SMALL["halves"], HostMemory())
    batches = [
        {"around": around, "tiny": tiny[:3], "huge": huge[2:], "halves": halves[:9], "grown": tiny},
        {"around": -around, "tiny": tiny, "huge": huge, "halves": halves, "grown": huge},
    ]
    assert on_device(gpu, batches, rule) == on_host(batches, rule)


def test_the_default_layout() -> None:
    batch = as_all(activations(9, 3.0, 600))
    small = {"threads": 64, "span": 500}
    gpu = Gpu(Layout(LAYOUTS[DEFAULT].slots, LAYOUTS[DEFAULT].packed, **small), HostMemory())
    assert on_device(gpu, [batch], "stable") == on_host([batch], "stable")


def test_counters_are_fetched_before_they_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_trtcal.stats.cuda import counter

    monkeypatch.setattr(counter, "FULL", 100)
    fetched = []
    gpu = Gpu(SMALL["words"], HostMemory())
    monkeypatch.setattr(gpu, "fetch", lambda of: fetched.append(of.size) or Gpu.fetch(gpu, of))
    batch = {"a": np.full(60, 0.75, np.float32), "b": np.full(101, 3.0, np.float32)}
    assert on_device(gpu, [batch] * 3, "stable") == on_host([batch] * 3, "stable")
    assert len(fetched) == 3  # before the second and the third batch, and at the end; b never was there


def test_a_collection_counts_device_arrays_and_host_arrays_alike() -> None:
    values = activations(4, 1.0).reshape(6, 10)
    values[2] = np.inf
    arrays = {"a": values, "b": np.abs(values[:, :3]), "c": values.astype(np.float64), "d": values[:5]}
    gpu = Gpu(SMALL["halves"], HostMemory())
    host, device = (Collection(list(arrays), model="0" * 64) for _ in range(2))
    device.count_on(CudaDevice(gpu))
    for names in (["x", "y", "z"], ["u", "v", "w"]):
        host.add(names, names, arrays)
        there = {name: device_array(array) for name, array in arrays.items()}
        device.add(names, names, {**there, "b": arrays["b"]})
        assert device == host
    assert device.first_nonfinite == host.first_nonfinite != {}
    assert device.histograms["a"].counts.sum() > 0


def test_a_batch_that_outgrows_bins_that_were_just_fetched() -> None:
    gpu = Gpu(SMALL["words"], HostMemory())
    histograms = {"a": Histogram()}
    counts = CudaCounter(gpu, histograms)
    batches = [activations(seed, scale) for seed, scale in ((1, 1.0), (2, 9.0))]
    for batch in batches:
        counts.add({"a": device_array(batch)})
        counts.settle()
    assert histograms == {"a": counted(*batches)}


def test_a_gpu_is_tried_before_it_is_trusted() -> None:
    check_gpu(Gpu(SMALL["halves"], HostMemory()))
    with pytest.raises(ArithmeticError, match="wrong"):
        check_gpu(
            Gpu(SMALL["halves"], HostMemory(from_float16=lambda bits: np.uint32(bits << np.uint32(13))))
        )


def test_rows_that_only_fill_up_a_batch_are_left_out() -> None:
    values = activations(2, 1.0).reshape(6, 10)
    gpu = Gpu(SMALL["global"], HostMemory())
    histograms = {"a": Histogram()}
    counts = CudaCounter(gpu, histograms)
    counts.add({"a": device_array(values)[1:4]})
    counts.settle()
    assert histograms == {"a": counted(values[1:4])}


class CpuAsCuda:
    """A provider that says it is CUDA, and runs on the CPU."""

    device = "cuda"
    ort_names = ("CPUExecutionProvider",)


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_a_whole_calibration(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From data to scales with every activation counted by the kernel, in a fixed batch that is filled up."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((4, 3, 3, 3)).astype(np.float32)
    proto = model(
        [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Sigmoid", "r", "y")],
        {"x": [3, 3, 4, 4]}, {"y": None}, {"w": weights},
    )  # fmt: skip
    data = [random.standard_normal((3, 4, 4)).astype(np.float32) * k for k in range(1, 6)]
    options = Options(provider="cpu", range=rule)
    expected = calibrate(proto, data, options)
    heard = []
    listener = LoggingListener()
    monkeypatch.setattr(listener, "say", heard.append)
    gpu = Gpu(SMALL["halves"], HostMemory())
    monkeypatch.setattr(gpu, "free_memory", lambda: 1 << 30)
    monkeypatch.setattr(measure, "choose_provider", lambda asked: CpuAsCuda())
    monkeypatch.setattr(cuda, "open_device", lambda: (CudaDevice(gpu, memory="cpu"), "counted on the GPU"))
    found = calibrate(proto, data, options, listener=listener)
    assert found.collection == expected.collection
    assert found.thresholds == expected.thresholds
    assert "counted on the GPU" in heard
    monkeypatch.setattr(cuda, "open_device", lambda: (None, "no numba-cuda"))
    assert calibrate(proto, data, options, listener=listener).collection == expected.collection
    assert "activations are copied to the CPU to be counted: no numba-cuda" in heard
