"""Outputs are looked at before any work is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.destinations import check_destinations

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
