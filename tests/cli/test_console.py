from __future__ import annotations

import sys

import pytest

from onnx_trtcal.cli import console as module
from onnx_trtcal.cli.console import Console

Capture = pytest.CaptureFixture[str]


def test_what_quiet_and_verbose_leave(capsys: Capture) -> None:
    heard = {}
    for quiet in (False, True):
        for verbose in (False, True):
            console = Console(quiet=quiet, verbose=verbose)
            console.line("line")
            console.detail("detail")
            console.result("result")
            console.table(["a"], [["b"]], "title")
            console.warn("look")
            heard[quiet, verbose] = capsys.readouterr()
    assert heard[False, False].out == "line\nresult\ntitle\n  a\n  b\n"
    assert heard[False, True].out == "line\ndetail\nresult\ntitle\n  a\n  b\n"
    assert heard[True, False].out == heard[True, True].out == "result\n"
    assert {each.err for each in heard.values()} == {"warning: look\n"}


def test_a_table_is_aligned(capsys: Capture) -> None:
    Console().table(["name", "n"], [["a", "100"], ["longer", "1"]])
    assert capsys.readouterr().out == "  name      n\n  a       100\n  longer    1\n"


def test_progress_in_a_log_is_a_line_now_and_then(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 10.0, 15.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with Console().progress("counting", 100) as bar:
        for _ in range(4):
            bar.advance(10)
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        said.err
        == "counting: 20 of 100, 40 s left, 2.0 samples/s\ncounting: 40 of 100, 30 s left, 2.0 samples/s\n"
    )


def test_progress_of_an_unknown_total_has_no_end(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with Console().progress("counting", None, "groups") as bar:
        bar.advance(10)
    assert capsys.readouterr().err == "counting: 10, 0.5 groups/s\n"


def test_quiet_progress_says_nothing(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 100))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with Console(quiet=True).progress("counting", 10) as bar:
        bar.advance(10)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Console().progress("counting", 10) as bar:
        bar.advance(10)
    said = capsys.readouterr()
    assert said.out == "" and "counting" in said.err and "10/10" in said.err
