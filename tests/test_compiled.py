"""Compiled code is kept where it can be, and missing or damaged files never fail a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from onnx_trtcal.compiled import compiled

@compiled
def part(x):
    return x / 0.0

@compiled
def whole(values):
    result = 0.0
    for value in values:
        result = max(result, part(value))
    return result
"""
CALL = "import numpy, kernel; print(kernel.whole(numpy.ones(3)), sum(kernel.whole.stats.cache_hits.values()))"


@pytest.fixture
def call(tmp_path: Path):
    (tmp_path / "kernel.py").write_text(SOURCE)

    def run() -> str:
        # HOME is no folder: nothing but NUMBA_CACHE_DIR or the module's own folder can be written.
        environment = {**os.environ, "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"
        environment.pop("NUMBA_CACHE_DIR", None)
        done = subprocess.run(
            [sys.executable, "-B", "-c", CALL], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_the_second_process_finds_what_the_first_compiled(call) -> None:
    assert call() == "inf 0"
    assert call() == "inf 1"


def test_a_damaged_cache_is_compiled_over(call, tmp_path: Path) -> None:
    call()
    for file in (tmp_path / "__pycache__").glob("*.nb?"):
        file.write_bytes(file.read_bytes()[:20])
    assert call() == "inf 0"


def test_nowhere_to_write_is_no_failure(call, tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file where numba wants a folder")
    assert call() == "inf 0"
