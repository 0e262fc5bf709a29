"""Outputs are looked at before any work is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import CalibrationError, OptionError
from onnx_trtcal.support.destinations import check_destinations, destinations

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.npy").write_bytes(b"sample")
    (tmp_path / "data" / "old.cache").write_bytes(b"cache")
    return tmp_path


def check(folder: Path, *outputs: str) -> None:
    check_destinations([folder / output for output in outputs], [folder / "model.onnx", folder / "data"])


@pytest.mark.parametrize(
    "outputs", [("x.cache",), ("x.cache", "x.json"), ("data/old.cache",), ("data/new.npy",)]
)
def test_new_files_and_old_results_are_fine(folder, outputs):
    check(folder, *outputs)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (("model.onnx",), "overwrite an input"),
        (("data/../model.onnx",), "overwrite an input"),
        (("data/a.npy",), "overwrite an input"),
        (("data",), "is a folder"),
        (("nowhere/x.cache",), "does not exist"),
        (("x", "./x"), "two outputs"),
    ],
)
def test_what_would_go_wrong_is_refused(folder, outputs, words):
    with pytest.raises(OptionError, match=words):
        check(folder, *outputs)


def test_a_link_to_an_input_is_that_input(folder):
    (folder / "link").symlink_to(folder / "model.onnx")
    with pytest.raises(OptionError, match="overwrite an input"):
        check(folder, "link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_no_place_for_a_file(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(OptionError, match="not a regular file"):
        check(folder, "pipe")


def test_a_name_that_the_system_does_not_take(folder):
    with pytest.raises(OptionError, match="File name too long") as failure:
        check(folder, "n" * 300)
    assert len(failure.value.where) < 300
    with pytest.raises(OptionError, match="File name too long"):
        check(folder, "/".join(["n" * 200] * 30))
    check_destinations([folder / "x"], ["n" * 300])  # an input is its reader's to refuse


@pytest.mark.skipif(os.name == "nt", reason="POSIX working directories")
def test_a_deleted_working_directory(folder, monkeypatch):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    with pytest.raises(OptionError, match="working directory of this run has been deleted"):
        check_destinations(["x.cache"], [folder / "model.onnx"])
    with pytest.raises(OptionError, match="has been deleted"):
        check(folder, "x.cache")  # what reads the model needs one, whatever the path
    monkeypatch.chdir(folder)


def test_an_output_belongs_to_one_run_at_a_time(folder):
    files = [folder / "x.cache", folder / "x.stats"]
    with destinations(files, [folder / "model.onnx"], [folder / "x.cache.json"]):
        with (
            pytest.raises(CalibrationError, match=r"x\.stats is being written by another run \(process "),
            destinations([folder / "a.cache", folder / "x.stats"], []),
        ):
            raise AssertionError
        with destinations([folder / "y.cache"], [], [folder / "x.cache.json"]):
            pass
    with destinations(files, []):
        pass
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "data"}
