"""Maps of names: three ways to write one, and what is wrong with a bad one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.errors import DataError
from onnx_trtcal.trt.rename_map import parse_names, read_names

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"a, b": "x\u2028", 'in "q"': "y: z"}


def test_three_ways_to_write_a_map(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"a, b": "x\\u2028", "in \\"q\\"": "y: z"}', encoding="utf-8")
    (tmp_path / "m.csv").write_text(
        'Old,New\r\n"a, b",x\u2028\r\n\r\n"in ""q""",y: z\r\n', encoding="utf-8-sig"
    )
    (tmp_path / "m.tsv").write_text('a, b\tx\u2028\n"in ""q"""\ty: z\n', encoding="utf-8")
    assert [read_names(tmp_path / f"m.{form}") for form in ("json", "csv", "tsv")] == [NAMES] * 3


@pytest.mark.parametrize(
    ("text", "is_json", "words", "where"),
    [
        ("a,b\nc\n", False, "1 columns", "m, line 2"),
        ("a,b\na,c\n", False, "two new names for 'a'", "m, line 2"),
        ("a,b\nc,\n", False, "empty", "m, line 2"),
        ("", False, "empty", "m"),
        ('a,"b\n', False, "bad CSV", "m, line 1"),
        ('{"a": "b", "a": "c"}', True, "two new names for 'a'", "m"),
        ('["a", "b"]', True, "not a JSON object", "m"),
        ('{"a": 1}', True, "not a JSON object", "m"),
        ('{"a": {"b": "c"}}', True, "not a JSON object", "m"),
        ('"a"', True, "not a JSON object", "m"),
        ("{", True, "not JSON", "m"),
    ],
)
def test_bad_map_is_named(text: str, is_json: bool, words: str, where: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        parse_names(text, is_json=is_json, name="m")
    assert caught.value.where == where


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_names(tmp_path / "absent.csv")
