"""Counting on a CUDA device, without one: numba's simulator runs the kernel, the host's memory is the device's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.host_memory import device_array

from onnx_trtcal.stats import cuda
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.counting_device import open_counting_device
from onnx_trtcal.stats.cuda import open_device
from onnx_trtcal.stats.cuda.layout import LAYOUTS, Layout

HERE = Path(__file__).parent


@pytest.mark.slow
def test_in_the_simulator() -> None:
    """The simulator replaces numba's CUDA when numba is imported, so it takes a process of its own."""
    if importlib.util.find_spec("numba.cuda") is None:
        pytest.skip("this numba has no CUDA simulator; pip install numba-cuda")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore::Warning"]
    run = subprocess.run(
        [*command, str(HERE / "simulated_cuda.py")],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, cwd=HERE.parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def test_without_numba_cuda_the_host_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    device, words = open_counting_device("cuda")
    assert device.memory is None
    assert words == (
        "activations are copied to the CPU to be counted: numba-cuda is not installed "
        "(pip install 'onnx_trtcal[cuda]', in a clone '.[cuda]')"
    )


def test_a_gpu_that_does_not_work_is_told_of_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: object())

    def broken(gpu: object) -> None:
        raise RuntimeError("\n\nno driver\nsecond line")

    monkeypatch.setattr(cuda, "check_gpu", broken)
    monkeypatch.setitem(sys.modules, "onnx_trtcal.stats.cuda.gpu", type(sys)("gpu"))
    sys.modules["onnx_trtcal.stats.cuda.gpu"].Gpu = object  # type: ignore[attr-defined]
    assert open_device() == (None, "numba-cuda does not work here: no driver second line")


def test_importing_the_package_leaves_numba_alone() -> None:
    code = "import sys, onnx_trtcal.stats.cuda; sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"slots": 12_290, "packed": False, "span": 1},
        {"slots": 24_600, "packed": True, "span": 1},
        {"slots": 101, "packed": True, "span": 1},
        {"slots": 100, "packed": True, "span": 1 << 16},
        {"slots": 100, "packed": False, "span": 0},
        {"slots": 100, "packed": False, "span": 1, "threads": 4},
    ],
)
def test_layouts_that_could_count_wrong_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"window|span|threads"):
        Layout(**fields)


def test_windows_of_the_layouts() -> None:
    assert {name: layout.words for name, layout in LAYOUTS.items()} == {
        "global": 1, "words": 8192, "halves": 8192, "wide": 12_224,
    }  # fmt: skip


def test_the_host_refuses_device_arrays() -> None:
    collection = Collection(["a"], model="0" * 64)
    with pytest.raises(TypeError, match="on a device"):
        collection.add(["x"], ["1"], {"a": device_array(np.ones(3, np.float32))})
