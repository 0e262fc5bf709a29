"""The file that a run resumes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.tuning.notes import Notes

if TYPE_CHECKING:
    from pathlib import Path


def refuse() -> None:
    pytest.fail("this was noted")


def test_a_result_is_worked_out_once(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    notes = Notes(path, "key")
    assert notes.once("a", lambda: {"x": 0.1}) == {"x": 0.1}
    assert notes.once("a", refuse) == {"x": 0.1}
    later = Notes(path, "key")
    assert later.resumed == 1
    assert later.once("a", refuse) == {"x": 0.1}


def test_notes_of_another_run_are_not_resumed_from(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    Notes(path, "key").once("a", lambda: 1)
    other = Notes(path, "another key")
    assert other.resumed == 0
    assert other.once("a", lambda: 2) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "key": "key", "results": 3}'])
def test_what_is_not_notes_is_begun_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(text)
    assert Notes(path, "key").once("a", lambda: 1) == 1


def test_without_a_file_results_are_kept_for_the_run() -> None:
    notes = Notes(None, "key")
    notes.once("a", lambda: 1)
    assert notes.once("a", refuse) == 1
