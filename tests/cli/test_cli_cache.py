"""`onnx-trtcal cache`: each action once through the front door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnx_trtcal.cli import main

OLD = b"TRT-8601-EntropyCalibration2\ninput: 3f800000\nmid: 40000000\nold only: 0\n"
NEW = b"TRT-100300-EntropyCalibration2\ninput: 3f800000\nmid: 3f800000\nnew only: 7f800000\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    (tmp_path / "old.cache").write_bytes(OLD)
    (tmp_path / "new.cache").write_bytes(NEW)
    return str(tmp_path / "old.cache"), str(tmp_path / "new.cache"), str(tmp_path / "out.cache")


def test_show(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "show", files[0], "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("TRT-8601-EntropyCalibration2, 3 tensors")
    assert lines[3].split() == ["mid", "2", "254", "40000000"]
    assert main(["cache", "show", files[1], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["algorithm"]) == ("100300", "EntropyCalibration2")
    assert shown["tensors"][1] == {"name": "mid", "scale": 1.0, "dynamic_range": 127.0, "hex": "3f800000"}
    assert shown["tensors"][2]["scale"] is None


def test_diff(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "diff", files[0], files[1]]) == 0
    printed = capsys.readouterr().out
    assert "2 tensors in both, 1 of them with different scales" in printed
    assert "1 only in the second:\n  new only" in printed
    assert main(["cache", "diff", files[0], files[1], "--top", "0"]) == 0
    assert "and 1 more" in capsys.readouterr().out
    assert main(["cache", "diff", "--exit-code", files[0], files[1], "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["common"][0] == {"name": "mid", "first": 2.0, "second": 1.0, "ratio": 0.5}
    assert (found["only_first"], found["same"]) == (["old only"], False)
    assert main(["cache", "diff", "--exit-code", files[0], files[0]]) == 0


def test_a_negative_top_is_refused(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "diff", files[0], files[1], "--top", "-1"]) == 1
    said = capsys.readouterr()
    assert "--top is -1" in said.err and not said.out


def test_merge(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "merge", *files[:2], "-o", files[2], "--prefer", "smaller"]) == 0
    assert (
        Path(files[2]).read_bytes()
        == OLD.replace(b"mid: 40000000", b"mid: 3f800000") + b"new only: 7f800000\n"
    )
    said = capsys.readouterr()
    assert "1 conflicts, the smaller kept" in said.out
    assert "headers differ" in said.err


def test_set_version(files: tuple[str, str, str]) -> None:
    assert main(["cache", "set-version", files[0], "--trt-version", "8.5.2", "-o", files[2]]) == 0
    assert Path(files[2]).read_bytes() == OLD.replace(b"8601", b"8502")
    assert main(["cache", "set-version", *files[:2], "--trt-version", "10.14.1", "--in-place"]) == 0
    assert Path(files[0]).read_bytes() == OLD.replace(b"8601", b"101401")
    assert Path(files[1]).read_bytes() == NEW.replace(b"100300", b"101401")


def test_nothing_is_written_when_one_of_several_is_bad(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[1]).write_bytes(NEW + b"\n")
    assert main(["cache", "set-version", *files[:2], "--trt-version", "8.4", "-i"]) == 1
    assert Path(files[0]).read_bytes() == OLD
    assert "new.cache, line 5" in capsys.readouterr().err
    assert main(["cache", "set-version", files[0], files[0], "--trt-version", "8.4", "-o", files[2]]) == 1
    assert "several files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ("merge", "old", "new", "-o", "new"),
        ("set-version", "old", "--trt-version", "8.5", "-o", "old"),
        ("rename", "old", "--map", "map", "-o", "old"),
        ("rename", "old", "--map", "map", "-o", "map"),
    ],
)
def test_no_input_is_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    contents = {"old": OLD, "new": NEW, "map": b"mid,middle\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert main(["cache", *(str(tmp_path / flag) if flag in contents else flag for flag in flags)]) == 1
    assert "would overwrite an input" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents


def test_rename(files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.csv"
    names.write_text("mid,middle: 1\nabsent,x\n", encoding="utf-8")
    assert main(["cache", "rename", files[0], "--map", str(names), "-o", files[2]]) == 0
    assert Path(files[2]).read_bytes() == OLD.replace(b"mid", b"middle: 1")
    said = capsys.readouterr()
    assert "1 of 3 tensors renamed" in said.out
    assert "'absent'" in said.err
