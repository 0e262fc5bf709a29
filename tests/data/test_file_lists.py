"""Lists of files as darknet, ultralytics, spreadsheets and shells write them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.file_lists import is_file_list, read_file_list
from onnx_trtcal.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b c.png", "#1.png", "d,e.png"):
        path = tmp_path / "set" / "imgs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return tmp_path / "set"


def names(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_file_list(path)
    assert all(each.is_file() for each in found.paths.values())
    return list(found.paths)


@pytest.mark.parametrize(
    "content",
    [
        "imgs/a.png\nimgs/b c.png\n",
        "imgs/a.png\r\n\r\n  imgs/b c.png  \r\n",
        "# calibration\n./imgs/a.png\n./imgs/b c.png",
        "imgs\\a.png\n'imgs/b c.png'\n",
        "imgs/a.png 0\nimgs/b c.png 17\n",
        "imgs/a.png\t0\nimgs/b c.png\t17\n",
        "0\t3.0\timgs/a.png\n1\t4.0\timgs/b c.png\n",
        b"\xef\xbb\xbfimgs/a.png\nimgs/b c.png\n",
        "imgs/a.png\r\nimgs/b c.png\r\n".encode("utf-16"),
    ],
)
def test_one_path_a_line(folder: Path, content: str | bytes) -> None:
    assert names(folder / "l.txt", content) == ["imgs/a.png", "imgs/b c.png"]


@pytest.mark.parametrize(
    "content",
    [
        "imgs/a.png,0\nimgs/b c.png,1\n",
        "imgs/a.png\nimgs/b c.png\n",
        "anything,label\nimgs/a.png,0\nimgs/b c.png,1\n",
        "label,Path\n0,imgs/a.png\n1,imgs/b c.png\n",
        "filename;label\r\nimgs/a.png;0\r\nimgs/b c.png;1\r\n",
        '\n"imgs/a.png","0"\n"imgs/b c.png","1"\n',
    ],
)
def test_a_column_of_a_table(folder: Path, content: str) -> None:
    assert names(folder / "l.csv", content) == ["imgs/a.png", "imgs/b c.png"]


def test_names_with_marks_in_them(folder: Path) -> None:
    assert names(folder / "l.csv", "imgs/d,e.png\nimgs/a.png\n") == ["imgs/d,e.png", "imgs/a.png"]
    assert names(folder / "l.txt", "imgs/#1.png\nimgs/d,e.png\n") == ["imgs/#1.png", "imgs/d,e.png"]


def test_relative_to_the_list_first_then_to_the_working_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "imgs" / "a.png"
    other.parent.mkdir()
    other.write_bytes(b"not this one")
    found = read_file_list(_written(folder / "l.txt", f"set/imgs/b c.png\nimgs/a.png\n{other}\n")).paths
    assert [os.path.abspath(path) for path in found.values()] == [
        str(folder / "imgs" / "b c.png"), str(folder / "imgs" / "a.png"), str(other)
    ]  # fmt: skip


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_repeated_lines_count_once_and_labels_are_noticed(folder: Path) -> None:
    found = read_file_list(_written(folder / "l.txt", "imgs/a.png 1\n./imgs/a.png 1\nimgs/b c.png 1\n"))
    assert (list(found.paths), found.repeated, found.labelled) == (["imgs/a.png", "imgs/b c.png"], 1, True)


def test_folders_may_be_listed(folder: Path) -> None:
    assert read_file_list(_written(folder / "l.txt", "imgs\n")).paths == {"imgs": folder / "imgs"}


@pytest.mark.parametrize(
    ("name", "content", "what", "fix"),
    [
        ("l.txt", "\n# nothing\n", "names no files", "one path a line"),
        ("l.csv", "file,label\n", "names no files", "one path a line"),
        ("l.txt", "imgs/a.png\nimgs/z.png\n", "1 of the list's 2 lines name no file: line 2: 'imgs/z.png'", "suffix"),
        ("l.txt", "a\nb c\n", "2 of the list's 2 lines", "as in imgs/a.png"),
        ("l.txt", "https://host/a.png\n", "line 1", "not downloaded"),
        ("l.csv", f'"{"a" * 200_000}",1\n', "the list of files is not a table: field larger", "one path a line"),
        ("l.csv", "0.5,0.25\n0.1,0.2\n", "line 1: '0.5'", "suffix"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(folder: Path, name: str, content: str, what: str, fix: str) -> None:
    with pytest.raises(DataError) as caught:
        read_file_list(_written(folder / name, content))
    assert what in caught.value.what and fix in caught.value.fix
    assert caught.value.where == str(folder / name)


def test_which_names_are_lists() -> None:
    listing = ["a.TXT", "b.csv", "c.tsv", "d.lst", "e.npy", "f.json", "txt"]
    assert [is_file_list(Path(name)) for name in listing] == [True] * 4 + [False] * 3
