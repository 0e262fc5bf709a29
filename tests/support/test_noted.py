"""Notes come back as they were written, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.support.noted import read_noted, write_noted

if TYPE_CHECKING:
    from pathlib import Path

NOTED = {"key": "a", "results": {"x": [1, 0.1, float("inf"), None, "ü"], "y": {}}}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    assert read_noted(path) == {}
    write_noted(path, NOTED)
    assert read_noted(path) == NOTED


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"noted": 3}', '{"noted": {"key": "a"}}', "[" * 9999]
)
def test_anything_else_counts_as_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text(text)
    assert read_noted(tmp_path / "notes") == {}


def test_no_changed_value_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    write_noted(path, NOTED)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_noted(path) in ({}, NOTED)
        path.write_bytes(whole[:at])
        assert read_noted(path) in ({}, NOTED)
