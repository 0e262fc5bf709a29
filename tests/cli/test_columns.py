"""Bars, sparklines and columns, drawn on terminals of every width."""

from __future__ import annotations

import math
import sys

import pytest
from helpers.terminals import without_escapes
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from onnx_trtcal.cli import terminal as module
from onnx_trtcal.cli.columns import Column, drawn_lines, spark
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.terminal import Terminal, stdout_terminal

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
PLAIN = Terminal(80, None)
COLUMNS = [
    Column("tensor", ("a", "long/name/of/a/tensor")),
    Column("made by", ("Conv", "Gemm"), rank=2),
    Column("SQNR dB", ("20.0", "40.0"), (1.0, 0.25)),
    Column("cosine", ("0.99", "0.999"), rank=3),
]


def drawn(columns: list[Column], width: int = 80) -> list[str]:
    return drawn_lines(columns, Terminal(width, None))


def test_a_bar_is_as_long_as_its_share() -> None:
    head, first, second = drawn(COLUMNS)
    assert head.split() == ["tensor", "made", "by", "SQNR", "dB", "cosine"]
    assert first.count("█") == 4 * second.count("█") > 8
    assert first.index("20.0") == second.index("40.0") and first.endswith("0.99")
    # A share between two eighths is rounded; whatever is more than nothing shows.
    tiny = drawn([Column("n", ("a", "b", "c")), Column("v", ("1", "2", "3"), (1.0, 1e-9, 0.0))])
    assert [line[-1] for line in tiny[1:]] == ["█", "▏", "3"]


def test_narrow_terminals_lose_columns_and_the_middle_of_names() -> None:
    heads = {width: drawn(COLUMNS, width)[0].split() for width in (80, 46, 36)}
    assert [len(heads[width]) for width in (80, 46, 36)] == [6, 5, 3]
    assert heads[36] == ["tensor", "SQNR", "dB"]
    lines = drawn(COLUMNS, 36)
    assert "long/nam…/a/tensor " in lines[2] and all(len(line) <= 36 for line in lines)


NAMES = st.text(max_size=40)
SHARES = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(NAMES, SHARES, st.floats(-99, 99)), min_size=1, max_size=6),
    width=st.integers(40, 130),
    colours=st.sampled_from([None, "truecolor", "standard"]),
)
def test_lines_fit_and_only_styles_are_escaped(
    rows: list[tuple[str, float, float]], width: int, colours: str | None
) -> None:
    names, shares, values = zip(*rows, strict=True)
    columns = [
        Column("tensor", names),
        Column("distribution", sparks=tuple([share] * 20 for share in shares), rank=1),
        Column("dB", tuple(f"{value:.1f}" for value in values), shares),
    ]
    lines = drawn_lines(columns, Terminal(width, colours))
    assert len(lines) == len(rows) + 1
    for line in lines:
        shown = without_escapes(line)
        assert (cell_len(shown) <= width and shown.isprintable()) or not all(map(str.isprintable, names))
        assert "\x1b" not in shown and ("\x1b" not in line or colours)


def test_a_sparkline_keeps_the_highest_of_neighbours() -> None:
    assert spark([0, 0.1, 0.5, 1.0]) == " ▁▅█"
    assert spark([0.0] * 63 + [1.0], 16) == " " * 15 + "█"
    assert len(spark([0.5] * 1000, 60)) == 60 and spark([]) == ""
    assert spark([math.nan, math.inf, -1.0]) == " █ "


class Stream:
    """Standard output of any kind."""

    def __init__(self, *, encoding: str = "utf-8", terminal: bool = True) -> None:
        self.encoding, self.terminal, self.text = encoding, terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "no such encoding"])
def test_a_terminal_without_block_characters_gets_plain_columns(encoding: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(encoding=encoding))
    monkeypatch.setenv("TERM", "xterm")
    assert stdout_terminal() is None


def test_what_is_a_terminal_to_draw_on(monkeypatch: Patch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "91")
    monkeypatch.setattr(sys, "stdout", Stream())
    assert stdout_terminal() == Terminal(91, "256")
    monkeypatch.setenv("NO_COLOR", "1")
    assert stdout_terminal() == Terminal(91, None)
    monkeypatch.setenv("TERM", "dumb")
    assert stdout_terminal() is None
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # says how to colour, not that a pipe is a terminal
    monkeypatch.setattr(sys, "stdout", Stream(terminal=False))
    assert stdout_terminal() is None
    monkeypatch.setattr(sys, "stdout", None)
    assert stdout_terminal() is None


def test_a_pipe_gets_the_same_columns_whatever_the_terminal(capsys: Capture, monkeypatch: Patch) -> None:
    columns = [*COLUMNS, Column("shape", sparks=((1.0,), (0.5,))), Column("none", ("", "-"))]
    columns += [Column("drawn", ("1", "2"), piped=False), Column("told", ("3", "4"), drawn=False, short="t")]
    said = []
    for width in ("20", "200"):
        monkeypatch.setenv("COLUMNS", width)
        Console().columns(columns, "title:")
        said.append(capsys.readouterr().out)
    assert (
        said[0]
        == said[1]
        == (
            "title:\n"
            "  tensor                 made by  SQNR dB  cosine  told\n"
            "  a                         Conv     20.0    0.99     3\n"
            "  long/name/of/a/tensor     Gemm     40.0   0.999     4\n"
        )
    )
    monkeypatch.setattr(Console, "terminal", PLAIN)
    Console().columns(columns, "title:")
    out = capsys.readouterr().out
    assert out.startswith("title:\n") and "█" in out and "told" not in out and "drawn" in out
    Console(quiet=True).columns(columns)
    assert capsys.readouterr().out == ""


def test_a_verdict_is_bold_where_there_are_colours(capsys: Capture, monkeypatch: Patch) -> None:
    said = []
    for terminal in (None, PLAIN, Terminal(80, "standard")):
        monkeypatch.setattr(Console, "terminal", terminal)
        Console().verdict("verdict: \x1b fine")
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == "verdict: \\x1b fine\n" and said[2] == f"\x1b[1m{said[0].rstrip()}\x1b[0m\n"


def test_a_closed_stream_is_no_terminal(monkeypatch: Patch) -> None:
    class Closed(Stream):
        def isatty(self) -> bool:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert module.stdout_terminal() is None
