"""Loading kernels ahead of time: those that a run calls, once, and out of the way of a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal.counting import warm_up as module
from onnx_trtcal.counting.warm_up import import_kernels, warm_up

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADED = """
import threading
import numpy as np
from onnx_trtcal.counting.warm_up import warm_up

warm_up("stable", "mse")
for thread in threading.enumerate():
    if thread.name == "calibration-warm-up":
        thread.join()
from onnx_trtcal.methods import mse
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.host import HostCounter
from onnx_trtcal.stats.kernels import count_rows

kernels = count_rows, mse._search
loaded = [list(each.loaded) for each in kernels]
histograms = {name: Histogram() for name in "ab"}
counter = HostCounter(histograms)
counter.add({name: np.ones((2, 3), np.float32) for name in "ab"})
counter.settle()
mse.solve(histograms["a"])
assert all(loaded) and loaded == [list(each.loaded) for each in kernels], loaded
"""

# A process whose kernels were compiled before.
CALIBRATED = """
import sys
from onnx_trtcal.__main__ import main

status = main()
assert "onnx_trtcal.stats.kernels" in sys.modules and "numba" not in sys.modules
sys.exit(status)
"""

# A process whose kernels are never loaded, where the command is one that is refused.
REFUSED = """
import sys
import threading
from onnx_trtcal.__main__ import main
from onnx_trtcal.counting import warm_up

warm_up._load = lambda *_: threading.Event().wait()
sys.exit(main())
"""

ENDING = """
import time
from onnx_trtcal.counting import warm_up

warm_up._load = lambda *_: (time.sleep(0.3), print("loaded"))
warm_up.warm_up("stable")
"""


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    warm_up.cache_clear()
    yield
    warm_up.cache_clear()


def test_loads_the_kernels_that_a_run_calls() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_run_whose_kernels_were_compiled_before_imports_no_numba(tmp_path: Path) -> None:
    models = Path(__file__).parents[2] / "models"
    command = [models / "digits_mlp.onnx", models / "digits_calib.npy", "-o", tmp_path / "m.cache", "-q"]
    subprocess.run([sys.executable, "-m", "onnx_trtcal", *command], check=True)
    done = subprocess.run(
        [sys.executable, "-c", CALIBRATED, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str | None]] = []
    monkeypatch.setattr(module, "_load", lambda *given: calls.append(given))
    for _ in range(3):
        warm_up("stable", "entropy")
    warm_up("stable")
    for thread in threading.enumerate():
        if thread.name == "calibration-warm-up":
            thread.join()
    assert sorted(calls, key=str) == [("stable", "entropy"), ("stable", None)]


def command(folder: Path, data: np.ndarray) -> list[Path | str]:
    """The arguments of a command that calibrates a small model, in this folder."""
    onnx.save(toys.model([toys.node("Relu", "x", "y")], {"x": ["n", 4]}, ["y"]), folder / "m.onnx")
    np.save(folder / "data.npy", data)
    return [folder / "m.onnx", folder / "data.npy", "-o", folder / "m.cache"]


def test_a_refused_command_does_not_wait_for_kernels(tmp_path: Path) -> None:
    arguments = command(tmp_path, np.zeros((2, 5), np.float32))
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "error: the array has shape (2, 5)" in done.stderr and "save arrays of the shape" in done.stderr


def test_kernels_that_cannot_be_had_are_answered_by_the_reason(tmp_path: Path) -> None:
    arguments = command(tmp_path, np.ones((40, 4), np.float32))
    done = subprocess.run(
        [sys.executable, "-m", "onnx_trtcal", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 1
    assert "error: NUMBA_DISABLE_JIT is set in the environment" in done.stderr


def test_who_counts_waits_for_what_counts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, counted, solved = threading.Event(), threading.Event(), threading.Event()

    def add(*_: object) -> None:
        begun.set()
        counted.wait(20)

    solver = SimpleNamespace(needs="histogram", solve=lambda _: solved.wait(20))
    monkeypatch.setattr("onnx_trtcal.stats.histogram.Histogram.add", add)
    monkeypatch.setattr("onnx_trtcal.methods.parse_method", lambda _: solver)
    warm_up("stable", "entropy")
    assert begun.wait(20)
    counting = threading.Thread(target=import_kernels)
    counting.start()
    counting.join(0.1)
    assert counting.is_alive()
    counted.set()
    counting.join(20)
    assert not counting.is_alive() and not solved.is_set()
    solved.set()


def test_the_end_of_a_program_waits_for_kernels() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "loaded\n")


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="there is no fork here")
def test_a_fork_waits_for_what_is_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    importing, done = threading.Event(), threading.Event()

    def load(*_: object) -> None:
        importing.set()
        done.wait(0.2)
        done.set()

    monkeypatch.setattr(module, "_load", load)
    warm_up("stable", "entropy")
    importing.wait()
    child = os.fork()
    if not child:
        os._exit(0 if done.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
