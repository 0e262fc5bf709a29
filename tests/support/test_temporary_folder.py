"""Temporary folders go with their owner, and what a killed one left goes with the next."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from onnx_trtcal.support import temporary_folder
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.temporary import host
from onnx_trtcal.support.temporary_folder import TemporaryFolder, remove_abandoned_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, links and forks")

OWNER = """
import sys
from onnx_trtcal.support.temporary_folder import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "large").write_bytes(b"weights")
print("made", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, as a process finds it that has just begun."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary_folder, "_SWEPT", set())
    return tmp_path


@pytest.fixture
def owner(base: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has a folder with a file in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(base)},
    )
    assert process.stdout is not None and process.stdout.readline() == "made\n"
    yield process
    process.kill()
    process.communicate()


def test_it_goes_with_the_block_and_with_the_last_reference(base: Path) -> None:
    with TemporaryFolder() as path:
        (path / "a").write_bytes(b"")
        (root,) = base.iterdir()
        assert path.parent == root and root.name.startswith(f"onnx_trtcal.{host()}.{os.getpid()}.")
        assert os.name == "nt" or root.stat().st_mode & 0o777 == 0o700
    assert not os.listdir(base)
    folder = TemporaryFolder()
    (folder.path / "a").write_bytes(b"")
    del folder
    gc.collect()
    assert not os.listdir(base)


def test_it_goes_with_the_process(owner: subprocess.Popen[str], base: Path) -> None:
    assert len(os.listdir(base)) == 1
    owner.communicate("\n")
    assert owner.returncode == 0 and not os.listdir(base)


def test_that_of_a_live_process_stays(owner: subprocess.Popen[str], base: Path) -> None:
    (root,) = base.iterdir()
    assert f".{owner.pid}." in root.name
    with TemporaryFolder():
        assert len(os.listdir(base)) == 2
    assert (root / "files" / "large").read_bytes() == b"weights"


@posix
@pytest.mark.parametrize("by", ["the next folder", "the next run that writes"])
def test_that_of_a_killed_process_goes(owner: subprocess.Popen[str], base: Path, by: str) -> None:
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert len(os.listdir(base)) == 1
    if by == "the next folder":
        with TemporaryFolder():
            assert len(os.listdir(base)) == 1
    else:
        with destinations([base / "out"], []):
            pass
    assert not os.listdir(base)


@posix
def test_without_locks_the_name_decides(
    owner: subprocess.Popen[str], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary_folder, "try_lock", lambda descriptor: None)
    elsewhere = base / "onnx_trtcal.some-other-host.1.00000000"
    elsewhere.mkdir()
    (elsewhere / "owner").touch()
    remove_abandoned_folders()
    assert len(os.listdir(base)) == 2
    owner.kill()
    owner.wait()
    temporary_folder._SWEPT.clear()
    remove_abandoned_folders()
    assert os.listdir(base) == [elsewhere.name]


@posix
def test_what_only_has_such_a_name_stays(base: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    target = base / "somebody's"
    target.mkdir()
    (target / "file").touch()
    link = base / f"onnx_trtcal.{host()}.{gone.pid}.00000000"
    link.symlink_to(target)
    (base / f"onnx_trtcal.{host()}.{gone.pid}.00000001").touch()
    (base / f"onnx_trtcal-{host()}.{gone.pid}.00000002").mkdir()
    pipe = base / f"onnx_trtcal.{host()}.{gone.pid}.00000003"
    pipe.mkdir()
    os.mkfifo(pipe / "owner")
    unmade = base / f"onnx_trtcal.{host()}.{gone.pid}.00000004"
    unmade.mkdir()
    before = set(os.listdir(base))
    remove_abandoned_folders()
    assert before - set(os.listdir(base)) == {unmade.name}
    assert (target / "file").exists()


@posix
def test_a_fork_leaves_it_to_its_owner(base: Path) -> None:
    folder = TemporaryFolder()
    child = os.fork()
    if child == 0:
        folder.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.is_dir()
    folder.remove()
    assert not os.listdir(base)


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = temporary_folder.try_lock, []

    def lost_first(descriptor: int) -> bool | None:
        if not taken:
            taken.extend(os.listdir(base))
            return False
        return real(descriptor)

    monkeypatch.setattr(temporary_folder, "try_lock", lost_first)
    with TemporaryFolder() as path:
        assert taken and path.parent.name not in taken
        assert os.listdir(base) == [path.parent.name]


def test_where_none_can_be_made_nothing_is_left(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def full(path: str, *others: Any, **more: Any) -> int:
        if os.path.basename(path) == "owner":
            raise OSError(28, "No space left on device")
        return real(path, *others, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(OSError, match="No space"):
            TemporaryFolder()
    assert not os.listdir(base)
