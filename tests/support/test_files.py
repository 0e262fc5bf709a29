from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.cleanup import _clean_up
from onnx_trtcal.support.files import atomic_file, atomic_write, natural_key, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType


def test_a_file_is_written_or_replaced(tmp_path: Path) -> None:
    for data in (b"first", b"", b"second" * 10000):
        atomic_write(tmp_path / "f", data)
        assert (tmp_path / "f").read_bytes() == data
    assert os.listdir(tmp_path) == ["f"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic_write(tmp_path / "f", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CalibrationError, match="No space left on device") as failure:
        atomic_write(tmp_path / "f", b"new")
    assert failure.value.where == str(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


def test_a_folder_that_is_missing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot write the file"):
        atomic_write(tmp_path / "none" / "f", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_permissions_are_those_of_a_plain_open(tmp_path: Path) -> None:
    atomic_write(tmp_path / "ours", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


class InterruptAt:
    """A tracer that raises KeyboardInterrupt at one of the places where Python looks for signals: before a line."""

    def __init__(self, place: int) -> None:
        self.left = place

    def __call__(self, frame: FrameType, event: str, arg: object) -> Callable[..., object] | None:
        ours = "onnx_trtcal/support" in frame.f_code.co_filename or frame.f_code.co_name == "write_one"
        return self.step if ours else None

    def step(self, frame: FrameType, event: str, arg: object) -> Callable[..., object]:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.step


def write_one(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"new")


def test_an_interrupt_before_any_line_leaves_the_old_file_or_the_new_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    interrupted = 0
    for place in range(1, 1000):
        atomic_write(tmp_path / "f", b"old")
        tracer, before = InterruptAt(place), sys.gettrace()
        sys.settrace(tracer)
        try:
            write_one(tmp_path / "f")
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(before)
        # What an interrupt of the cleaning up has left is removed at the end of the process.
        _clean_up()
        assert os.listdir(tmp_path) == ["f"], place
        assert (tmp_path / "f").read_bytes() in (b"old", b"new"), place
        if tracer.left > 0:
            break
    assert interrupted > 20 and place == interrupted + 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_signals_at_any_time_leave_nothing(tmp_path: Path) -> None:
    """The timer's signal comes between any two bytecodes, as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    random, seen, begun = Random(13), 0, time.monotonic()
    try:
        while time.monotonic() - begun < 4:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 6e-4))
                write_one(tmp_path / "f")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                seen += 1
            assert {*os.listdir(tmp_path)} <= {"f"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen > 50


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_stays_and_leads_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "f")
    atomic_write(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "f").read_bytes() == b"data"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CalibrationError, match="not a regular file"):
        atomic_write(tmp_path / "pipe", b"data")
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_name_of_any_length_that_the_system_takes_is_written(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("n" * 255), b"data")
    with pytest.raises(CalibrationError, match="File name too long"):
        atomic_write(tmp_path / ("n" * 256), b"data")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX working directories")
def test_in_a_deleted_working_directory_the_error_is_one_of_the_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CalibrationError, match="No such file or directory"):
        atomic_write("f", b"data")
    monkeypatch.chdir(tmp_path)


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"x" * 300_000).hexdigest()


def test_natural_order() -> None:
    names = ["img10", "img2", "img02", "a", "10", "9", "img", "img2b", "1x", "é"]
    assert sorted(names, key=natural_key) == sorted(sorted(names, reverse=True), key=natural_key)
    assert sorted(["img10", "img9", "9", "10"], key=natural_key) == ["9", "10", "img9", "img10"]
    assert natural_key("img2") != natural_key("img02")
