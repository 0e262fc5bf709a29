"""Temporary files say whose they are, and those of the dead are removed, by whoever comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.support import temporary
from onnx_trtcal.support.files import atomic_file, atomic_write
from onnx_trtcal.support.temporary import hidden_name, host, remove_leftovers, temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

WRITER = """
import sys
from onnx_trtcal.support.files import atomic_file
with atomic_file(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing the file f."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "f")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def test_the_name_says_whose_it_is(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "f") as (path, _):
        assert path.name.startswith(f".f.{host()}.{os.getpid()}.") and path.name.endswith(".tmp")


def test_the_file_of_a_live_process_stays(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    (name,) = hidden(tmp_path)
    assert f".{writer.pid}." in name
    remove_leftovers(tmp_path / "f")
    atomic_write(tmp_path / "f", b"ours")
    assert hidden(tmp_path) == [name]
    writer.communicate("\n")
    assert writer.returncode == 0 and (tmp_path / "f").read_bytes() == b"half" and not hidden(tmp_path)


@posix
@pytest.mark.parametrize("explicit", [True, False])
def test_the_file_of_a_killed_process_goes(
    writer: subprocess.Popen[str], tmp_path: Path, explicit: bool
) -> None:
    (tmp_path / ".f.x").write_bytes(b"someone else's")
    (tmp_path / f".f.json.{host()}.1.00000000.tmp").write_bytes(b"another file's")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(hidden(tmp_path)) == 3
    if explicit:
        remove_leftovers(tmp_path / "f")
    else:
        atomic_write(tmp_path / "f", b"ours")
    assert len(hidden(tmp_path)) == 2


@posix
def test_without_locks_the_name_decides(
    writer: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "try_lock", lambda descriptor: None)
    elsewhere = tmp_path / ".f.some-other-host.1.00000000.tmp"
    elsewhere.write_bytes(b"half")
    ours = [name for name in hidden(tmp_path) if name != elsewhere.name]
    remove_leftovers(tmp_path / "f")
    assert {*hidden(tmp_path)} == {elsewhere.name, *ours}
    writer.kill()
    writer.wait()
    remove_leftovers(tmp_path / "f")
    assert hidden(tmp_path) == [elsewhere.name]
    atomic_write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_names_that_begin_alike_do_not_share_leftovers(tmp_path: Path) -> None:
    one, other = tmp_path / ("n" * 200 + "1"), tmp_path / ("n" * 200 + "2")
    assert hidden_name(one) != hidden_name(other) and len(hidden_name(one)) < 60
    (tmp_path / f"{hidden_name(one)}.{host()}.1.00000000.tmp").write_bytes(b"")
    remove_leftovers(other)
    assert len(os.listdir(tmp_path)) == 1
    remove_leftovers(one)
    assert os.listdir(tmp_path) == []


@posix
def test_a_pipe_with_such_a_name_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f".f.{host()}.1.00000000.tmp")
    remove_leftovers(tmp_path / "f")
    assert len(os.listdir(tmp_path)) == 1


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = temporary.try_lock, []

    def swept_first(descriptor: int) -> bool | None:
        if not taken:
            taken.extend(hidden(tmp_path))
            os.unlink(tmp_path / taken[0])
        return real(descriptor)

    monkeypatch.setattr(temporary, "try_lock", swept_first)
    with atomic_file(tmp_path / "f") as file:
        file.write(b"data")
    assert len(taken) == 1 and os.listdir(tmp_path) == ["f"]
