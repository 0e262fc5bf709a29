from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.files import atomic_write, natural_key, remove_leftovers, sha256_file

if TYPE_CHECKING:
    from pathlib import Path


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


def test_what_a_killed_write_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: str, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    for name in ("f[0].cache", "g.cache", "f[0].cache.json"):
        with pytest.raises(KeyboardInterrupt):
            atomic_write(tmp_path / name, b"half")
    assert len(os.listdir(tmp_path)) == 3
    remove_leftovers(tmp_path / "f[0].cache")
    assert {name[1:-9] for name in os.listdir(tmp_path)} == {"g.cache", "f[0].cache.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_stays_and_leads_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "f")
    atomic_write(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "f").read_bytes() == b"data"
    (tmp_path / "real" / ".f.12345678").write_bytes(b"half")
    remove_leftovers(tmp_path / "link")
    assert os.listdir(tmp_path / "real") == ["f"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CalibrationError, match="not a regular file"):
        atomic_write(tmp_path / "pipe", b"data")
    assert os.listdir(tmp_path) == ["pipe"]


def test_leftovers_of_long_names_might_be_a_neighbours_and_stay(tmp_path: Path) -> None:
    (tmp_path / f".{'n' * 60}.12345678").write_bytes(b"")
    remove_leftovers(tmp_path / ("n" * 61))
    assert len(os.listdir(tmp_path)) == 1


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"x" * 300_000).hexdigest()


def test_natural_order() -> None:
    names = ["img10", "img2", "img02", "a", "10", "9", "img", "img2b", "1x", "é"]
    assert sorted(names, key=natural_key) == sorted(sorted(names, reverse=True), key=natural_key)
    assert sorted(["img10", "img9", "9", "10"], key=natural_key) == ["9", "10", "img9", "img10"]
    assert natural_key("img2") != natural_key("img02")
