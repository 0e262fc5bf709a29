"""Real runs of the command line, killed in the middle and started again with the same command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import onnx
import pytest
from helpers.small import network, samples, write_folder

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 300
FILES = ("out.cache", "out.cache.json", "out.stats")
FLAGS = ["--provider", "cpu", "--threads", "1", "--batch-size", "2", "--checkpoint-every", "8"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, and the files of an uninterrupted run in `whole`."""
    folder = tmp_path_factory.mktemp("job")
    onnx.save(network(), str(folder / "model.onnx"))
    write_folder(folder / "data", samples(COUNT))
    finished = start(folder, folder / "whole")
    assert finished.wait(timeout=60) == 0
    return folder


def start(job: Path, out: Path) -> subprocess.Popen[bytes]:
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "onnx_trtcal", str(job / "model.onnx"), str(job / "data"), *FLAGS]
    command += ["-o", str(out / FILES[0]), "--save-stats", str(out / FILES[2])]
    with open(out.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def stop_after(process: subprocess.Popen[bytes], checkpoint: Path, saves: int, sign: signal.Signals) -> None:
    """Sends a signal as soon as the checkpoint has been replaced so many times."""
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while len(seen) < saves:
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it was stopped"
        if checkpoint.exists():
            seen.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.0005)
    process.send_signal(sign)
    # A killed process says nothing; a terminated one cleans up and leaves with the status shells know.
    assert process.wait(timeout=60) == (-sign if sign == signal.SIGKILL else 128 + sign)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_same_command_ends_with_the_same_bytes(job: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    checkpoint = out / "out.cache.checkpoint"
    # A checkpoint that is there already counts as saved once.
    moments = [(1, signal.SIGKILL), (2, signal.SIGTERM), (6, signal.SIGKILL)]
    for saves, sign in moments:
        stop_after(start(job, out), checkpoint, saves, sign)
        assert not (out / FILES[0]).exists()
    assert start(job, out).wait(timeout=60) == 0
    said = out.with_suffix(".log").read_text()
    assert said.count("resuming from the checkpoint") == len(moments)
    for name in FILES:
        assert (out / name).read_bytes() == (job / "whole" / name).read_bytes()
    # Neither the checkpoint nor a half-written file is left behind.
    assert {path.name for path in out.iterdir()} == set(FILES)
