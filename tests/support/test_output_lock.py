"""Two runs never write one output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support import output_lock
from onnx_trtcal.support.cleanup import _clean_up
from onnx_trtcal.support.output_lock import locked, owner_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HOLDER = """
import sys
from onnx_trtcal.support.output_lock import locked
with locked([sys.argv[1]]):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the file f."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "f")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_says_who_has_it(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    said = rf"is being written by another run \(process {holder.pid} on [\w-]+, since 2\d\d\d-.*\): wait"
    for _ in range(2):  # asking does not change the answer
        with pytest.raises(CalibrationError, match=said) as failure, locked([tmp_path / "e", tmp_path / "f"]):
            raise AssertionError
        assert "\n" not in str(failure.value)
        assert os.listdir(tmp_path) == [".f.lock"]
    with locked([tmp_path / "g"]):
        pass
    holder.communicate("\n")
    assert holder.returncode == 0 and os.listdir(tmp_path) == []


@posix
def test_a_stale_lock_does_no_harm(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert os.listdir(tmp_path) == [".f.lock"]
    with locked([tmp_path / "f"]):
        assert f"process {os.getpid()} on" in (tmp_path / ".f.lock").read_text()
    assert os.listdir(tmp_path) == []


@posix
def test_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "f")
    with (
        locked([tmp_path / "f"]),
        pytest.raises(CalibrationError, match="link is being written"),
        locked([tmp_path / "link"]),
    ):
        raise AssertionError
    with locked([tmp_path / "f", tmp_path / "link"]):  # one run may name it twice
        pass


def test_where_there_are_no_locks_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_lock, "try_lock", lambda descriptor: None)
    with locked([tmp_path / "f"]), locked([tmp_path / "f"]):
        assert os.listdir(tmp_path) == []


def test_where_no_file_can_be_made_nothing_is_said(tmp_path: Path) -> None:
    with locked([tmp_path / "none" / "f"]):
        pass


def test_a_lock_that_someone_removed_is_not_taken_from_the_next_one(tmp_path: Path) -> None:
    with locked([tmp_path / "f"]):
        os.unlink(tmp_path / ".f.lock")
        (tmp_path / ".f.lock").write_text("another's")
    assert (tmp_path / ".f.lock").read_text() == "another's"


def test_a_block_that_fails_gives_it_back(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt, SystemExit, OSError):
        with pytest.raises(error), locked([tmp_path / "f", tmp_path / "g"]):
            raise error
        assert os.listdir(tmp_path) == []


def test_an_interrupt_while_it_is_given_back_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: object, descriptor: int) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), locked([tmp_path / "f"]):
        patched.setattr(output_lock, "is_there", interrupted)
    assert os.listdir(tmp_path) == [".f.lock"]
    _clean_up()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("said", [b"", b"process", b"process 1 on \x1b[31mhost since now\n", b"\xff" * 200])
def test_what_a_lock_says_is_repeated_only_where_it_is_what_a_run_writes(said: bytes) -> None:
    assert owner_text(said) == ""
