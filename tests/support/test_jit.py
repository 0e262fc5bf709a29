"""Compiled code is kept where it can be, and missing or damaged files never fail a run."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support import jit, numba_compiler
from onnx_trtcal.support.jit import compiled, intrinsic, part

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = """
from onnx_trtcal.support.jit import compiled, part

@part
def divided(x):
    return x / 0.0

@compiled
def whole(values):
    result = 0.0
    for value in values:
        result = max(result, divided(value))
    return result
"""
CALL = "import sys, numpy, kernel; print(kernel.whole(numpy.ones(3)), 'numba' in sys.modules)"
COMPILED, LOADED = "inf True", "inf False"


@pytest.fixture
def start(tmp_path: Path):
    (tmp_path / "kernel.py").write_text(SOURCE)
    (tmp_path / "temporary").mkdir()

    def start() -> subprocess.Popen:
        # HOME is no folder: nothing but the module's own folder and that for temporary files can be written.
        environment = {**os.environ, "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}
        environment["TMPDIR"] = str(tmp_path / "temporary")
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        environment.pop("NUMBA_CACHE_DIR", None)
        command = [sys.executable, "-B", "-c", CALL]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.fixture
def call(start):
    return lambda: outcome(start())


def outcome(process: subprocess.Popen) -> str:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output.strip()


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled(call) -> None:
    assert call() == COMPILED
    assert call() == LOADED


@pytest.mark.slow
def test_a_damaged_cache_is_compiled_over(call, tmp_path: Path) -> None:
    call()
    (file,) = (tmp_path / "__pycache__").glob("*.code")
    file.write_bytes(file.read_bytes()[:-20])
    assert call() == COMPILED
    assert call() == LOADED


@pytest.mark.slow
def test_a_function_that_says_something_else_is_compiled_again(call, tmp_path: Path) -> None:
    call()
    (tmp_path / "kernel.py").write_text(SOURCE.replace("x / 0.0", "x / -0.0").replace("max(", "min("))
    assert call() == f"-{COMPILED}"
    assert len(list((tmp_path / "__pycache__").glob("*.code"))) == 1


@pytest.mark.slow
def test_processes_that_compile_at_once_are_not_in_each_others_way(start, call, tmp_path: Path) -> None:
    processes = [start() for _ in range(3)]
    assert [outcome(each) for each in processes] == [COMPILED] * 3
    assert call() == LOADED
    assert [file.suffix for file in (tmp_path / "__pycache__").iterdir()] == [".code"]


@pytest.fixture
def no_module_folder(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file where a folder is wanted")


@pytest.mark.slow
@pytest.mark.usefixtures("no_module_folder")
def test_temporary_files_are_the_last_resort(call, tmp_path: Path) -> None:
    assert call() == COMPILED
    assert call() == LOADED
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary files are each user's own there")
@pytest.mark.usefixtures("no_module_folder")
def test_a_folder_that_others_may_write_to_is_not_trusted(call, tmp_path: Path) -> None:
    folder = tmp_path / "temporary" / f"onnx_trtcal-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert [call(), call()] == [COMPILED, COMPILED]
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("no_module_folder")
def test_nowhere_to_write_is_no_failure(call, tmp_path: Path) -> None:
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    (tmp_path / "temporary" / f"onnx_trtcal-{user}").write_text("a file where a folder is wanted")
    assert [call(), call()] == [COMPILED, COMPILED]


def test_where_numba_may_not_compile_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(OptionError, match=r"NUMBA_DISABLE_JIT is set[\s\S]*unset it"):
        intrinsic("float32(float32)", lambda context: context)


@pytest.mark.parametrize("off", [True, False])
def test_the_environment_says_so_while_another_thread_imports_numba(
    monkeypatch: pytest.MonkeyPatch, *, off: bool
) -> None:
    monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", str(int(off)))
    assert jit.compiling_is_off() is off


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / values.size


def sorted_mean(values):
    return mean_of(np.sort(values))


mean_of = part(mean)


def test_where_numba_may_not_compile_python_runs_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert compiled(sorted_mean)(np.arange(4.0)) == 1.5


@pytest.mark.usefixtures("own_cache")
def test_what_numba_reads_in_the_working_folder_may_keep_it_from_compiling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([False, True])  # before numba is imported, and after
    monkeypatch.setattr(jit, "compiling_is_off", lambda: next(answers))
    monkeypatch.setattr(numba_compiler, "machine_code", None)
    assert compiled(mean)(np.arange(4.0)) == 1.5


def test_python_cannot_run_what_emits_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="NUMBA_DISABLE_JIT is set"):
        intrinsic("float32(float32)", lambda context: context)(1.0)


def test_that_compiling_failed_is_no_lasting_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    dispatcher = numba_compiler.dispatcher(mean)
    monkeypatch.setattr(dispatcher, "compile", fail)
    assert numba_compiler.machine_code(dispatcher, ["int64"]) is None
    assert numba_compiler.machine_code(mean, ["int64"]) is None  # as numba leaves it where it may not compile


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_what_cannot_be_loaded_is_left_to_numba(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*_: object) -> None:
        raise OSError("memory cannot be made executable")

    monkeypatch.setattr(jit, "load", load)
    assert compiled(mean)(np.arange(4.0)) == 1.5
    assert not list(tmp_path.rglob("*.code"))  # another process tries again


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_what_makes_arrays_is_left_to_numba() -> None:
    assert compiled(sorted_mean)(np.array([2.0, 0.0, 4.0])) == 2.0


def error_function(x):
    return math.erf(x)


def imaginary(x):
    return 1j * x


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(("function", "answer"), [(error_function, 0.0), (imaginary, 0j)])
def test_what_needs_numba_for_good_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[float], object], answer: object
) -> None:
    assert compiled(function)(0.0) == answer
    monkeypatch.setattr(numba_compiler, "machine_code", None)
    assert compiled(function)(0.0) == answer


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_threads_that_call_at_once_wait_for_one_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations: list[object] = []
    compile_once = numba_compiler.machine_code
    monkeypatch.setattr(
        numba_compiler,
        "machine_code",
        lambda *given: compilations.append(given) or compile_once(*given),
    )
    kernel = compiled(mean)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(kernel, [np.arange(4.0)] * 8)) == [1.5] * 8
    assert len(compilations) == 1
    assert kernel(np.arange(4.0, dtype=np.float32)) == 1.5 and len(compilations) == 2
