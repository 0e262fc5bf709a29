"""What a run that does not get to its end leaves and says; whose outputs are whose."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers.small import network, samples, write_folder

from onnx_trtcal.cli import main
from onnx_trtcal.counting import checkpoint
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.support.output_lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, and data whose fourth sample is NaN; an empty working directory beside them."""
    onnx.save(network(), str(tmp_path / "model.onnx"))
    write_folder(tmp_path / "data", samples(20))
    np.save(tmp_path / "data" / "s3.npy", np.full((2, 4, 4), np.nan, np.float32))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def run(job: Path, *flags: str) -> int:
    return main(
        [str(job / "model.onnx"), str(job / "data"), "-o", "a.cache", "--provider", "cpu", "-q", *flags]
    )


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def slow_clock(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Every look at the clock finds it so much later."""
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now += step
        return clock.now

    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=monotonic))


CHECKPOINT = {"a.cache.checkpoint", "a.cache.checkpoint.samples"}


def test_a_failure_within_seconds_leaves_nothing_and_says_nothing_of_it(job: Path, capsys: Capture) -> None:
    assert run(job) == 1
    assert names() == set() and "checkpoint" not in capsys.readouterr().err


def test_a_failure_after_minutes_names_the_checkpoint_and_its_use(
    job: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_clock(monkeypatch, 720.0)
    assert run(job) == 1
    assert names() == CHECKPOINT
    said = capsys.readouterr().err
    assert (
        "warning: a.cache.checkpoint holds 20 counted samples (12 min of work): the same command with "
        "--allow-nonfinite resumes from there\nerror: NaN or Inf in" in said
    )
    assert run(job, "--allow-nonfinite") == 0
    assert names() == {"a.cache", "a.cache.json"}


def test_work_of_earlier_runs_counts(job: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        slow_clock(patched, 720.0)
        assert run(job) == 1
    capsys.readouterr()
    assert run(job) == 1
    assert names() == CHECKPOINT and "12 min of work" in capsys.readouterr().err


def test_one_that_was_asked_for_stays_however_short_the_run(job: Path, capsys: Capture) -> None:
    assert run(job, "--checkpoint-every", "5") == 1
    assert names() == CHECKPOINT
    assert "a.cache.checkpoint holds 20 counted samples (0 s of work)" in capsys.readouterr().err


def interrupted_at(call: int, error: type[BaseException]) -> Callable[..., None]:
    real, calls = Collection.add, []

    def add(self: Collection, *args: object, **named: object) -> None:
        calls.append(1)
        if len(calls) == call:
            raise error
        real(self, *args, **named)  # type: ignore[arg-type]

    return add


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupt_names_it_too(
    job: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(Collection, "add", interrupted_at(4, error))
    with contextlib.suppress(error):
        assert run(job, "--checkpoint-every", "2", "--batch-size", "2") in (130, 70)
    assert names() == CHECKPOINT
    assert "holds 6 counted samples (0 s of work): the same command resumes" in capsys.readouterr().err


def test_a_checkpoint_that_another_run_has_is_left_to_it(job: Path) -> None:
    assert run(job, "--checkpoint-every", "5") == 1
    with locked(["a.cache.checkpoint"]):
        assert run(job) == 1
    assert names() == CHECKPOINT


VERBS = {
    "calibrate": ["{model}", "{data}", "-o", "a.cache"],
    "calibrate, statistics": ["{model}", "{data}", "-o", "b.cache", "--save-stats", "a.cache"],
    "quantize": ["quantize", "{model}", "{data}", "-o", "a.cache"],
    "solve": ["solve", "{old}", "{model}", "-o", "a.cache"],
    "merge": ["merge", "{old}", "{old}", "-o", "a.cache"],
    "compare": ["compare", "{old}", "{model}", "--csv", "a.cache"],
    "cache merge": ["cache", "merge", "{old}", "-o", "a.cache"],
    "cache rename": ["cache", "rename", "a.cache", "--map", "{old}", "-i"],
    "cache set-version": ["cache", "set-version", "a.cache", "--trt-version", "8.6", "-i"],
    "check": ["check", "{model}", "{old}", "--write-completed", "a.cache"],
    "dequantize": ["dequantize", "{model}", "--cache", "a.cache"],
    "compile": ["compile", "{model}", "--engine", "a.cache"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_second_run_of_every_verb_says_who_has_the_output(job: Path, capsys: Capture, verb: str) -> None:
    (job / "old").write_bytes(b"not looked at")
    places = {"model": job / "model.onnx", "data": job / "data", "old": job / "old"}
    with locked([job / "cwd" / "a.cache"]):
        assert main([word.format(**places) for word in VERBS[verb]]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: a.cache is being written by another run (process ")
    assert said.err.count("\n") == 1 and not said.out, "before any work was done"
    assert names() == set()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_disk_that_is_full_is_one_error_and_leaves_no_temporary_file(job: Path) -> None:
    """The limit on the size of a file stands for the disk."""

    import resource

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    command = [
        sys.executable,
        "-m",
        "onnx_trtcal",
        str(job / "model.onnx"),
        str(job / "data"),
        "-o",
        "a.cache",
    ]
    command += ["--provider", "cpu", "-q", "--allow-nonfinite"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 1
    assert "error: cannot write the file: File too large\n" in done.stderr and "Traceback" not in done.stderr
    assert not [name for name in names() if name.startswith(".")]
