"""A device that counts is found by its name: what another GPU backend has to bring, and nothing else."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.host_memory import copy
from helpers.small import CPU, RecordingListener, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.run import provider
from onnx_trtcal.stats.counting_device import open_counting_device
from onnx_trtcal.stats.host import HostCounter, HostDevice
from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation

NAME = "accelerator"


class Counter(HostCounter):
    """Counts arrays where a device left them; knows how many there were."""

    on_device = 0

    def download(self, array: Activation) -> np.ndarray:
        if not isinstance(array, DeviceArray):
            return array
        Counter.on_device += 1
        return copy(array.address, array.nbytes).view(array.dtype).reshape(array.shape)

    def add(self, arrays: Mapping[str, Activation], pool: Executor | None = None) -> list[str]:
        return super().add({name: self.download(array) for name, array in arrays.items()}, pool)


class Device:
    """The host's memory, taken for a device's; ONNX Runtime leaves outputs there as device arrays."""

    memory = "cpu"

    def free_memory(self) -> int | None:
        return 1 << 30

    def counter(self, histograms: Mapping[str, Histogram]) -> Counter:
        return Counter(histograms)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A folder of `stats` and a line of `run.provider`."""
    module = ModuleType(f"onnx_trtcal.stats.{NAME}")
    module.open_device = lambda: (Device(), "counted on the accelerator")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    line = provider._Accelerator("NoExecutionProvider", NAME, lambda: "", "it is there", "buy one")
    monkeypatch.setitem(provider._ACCELERATORS, NAME, line)  # type: ignore[arg-type]
    monkeypatch.setitem(
        provider._ACCELERATORS,  # type: ignore[arg-type]
        "cuda",
        provider._Accelerator("CUDAExecutionProvider", "cuda", lambda: "none found", "", ""),
    )
    # ONNX Runtime has no such provider, and runs on the CPU.
    monkeypatch.setattr(provider.Provider, "ort_names", ["CPUExecutionProvider"])
    monkeypatch.setattr(Counter, "on_device", 0)
    return module


def test_a_calibration_counts_on_it(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples(12)
    data[5] = np.full_like(data[5], np.nan)
    options = {"allow_nonfinite": True, "batch_size": 4}
    expected = calibrate(network(), data, CPU.__class__(provider="cpu", **options))  # type: ignore[arg-type]
    listener = RecordingListener()
    found = calibrate(network(), data, CPU.__class__(**options), listener=listener)  # type: ignore[arg-type]
    assert found.collection == expected.collection
    assert found.collection.first_nonfinite == expected.collection.first_nonfinite != {}
    assert Counter.on_device > 3 * 3  # each tensor of each batch
    assert "execution provider: ACCELERATOR (it is there)" in listener.said
    assert "counted on the accelerator" in listener.said


def test_the_host_counts_where_it_cannot(backend: ModuleType) -> None:
    backend.open_device = lambda: (None, "its driver is old")  # type: ignore[attr-defined]
    device, words = open_counting_device(NAME)
    assert isinstance(device, HostDevice)
    assert words == "activations are copied to the CPU to be counted: its driver is old"
    listener = RecordingListener()
    calibrate(network(), samples(3), CPU.__class__(), listener=listener)
    assert words in listener.said and Counter.on_device == 0


def test_without_a_device_there_is_nothing_to_tell() -> None:
    device, words = open_counting_device(None)
    assert isinstance(device, HostDevice) and words == "" and device.memory is None
