"""Compiled code is kept where it can be, and missing or damaged files never fail a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.jit import intrinsic

SOURCE = """
from onnx_trtcal.support.jit import compiled

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
    (tmp_path / "temporary").mkdir()

    def run() -> str:
        # HOME is no folder: nothing but the module's own folder and that for temporary files can be written.
        environment = {**os.environ, "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}
        environment["TMPDIR"] = str(tmp_path / "temporary")
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        environment.pop("NUMBA_CACHE_DIR", None)
        done = subprocess.run(
            [sys.executable, "-B", "-c", CALL], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled(call) -> None:
    assert call() == "inf 0"
    assert call() == "inf 1"


@pytest.mark.slow
def test_a_damaged_cache_is_compiled_over(call, tmp_path: Path) -> None:
    call()
    for file in (tmp_path / "__pycache__").glob("*.nb?"):
        file.write_bytes(file.read_bytes()[:20])
    assert call() == "inf 0"


@pytest.fixture
def no_module_folder(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file where numba wants a folder")


@pytest.mark.slow
@pytest.mark.usefixtures("no_module_folder")
def test_temporary_files_are_the_last_resort(call, tmp_path: Path) -> None:
    assert call() == "inf 0"
    assert call() == "inf 1"
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary files are each user's own there")
@pytest.mark.usefixtures("no_module_folder")
def test_a_folder_that_others_may_write_to_is_not_trusted(call, tmp_path: Path) -> None:
    folder = tmp_path / "temporary" / f"onnx_trtcal-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert [call(), call()] == ["inf 0", "inf 0"]
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("no_module_folder")
def test_nowhere_to_write_is_no_failure(call, tmp_path: Path) -> None:
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    (tmp_path / "temporary" / f"onnx_trtcal-{user}").write_text("a file where a folder is wanted")
    assert [call(), call()] == ["inf 0", "inf 0"]


def test_where_numba_may_not_compile_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(OptionError, match=r"NUMBA_DISABLE_JIT is set[\s\S]*unset it"):
        intrinsic(lambda context: context)
