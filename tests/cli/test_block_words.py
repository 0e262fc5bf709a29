"""The verdict in words, and tables without empty columns."""

from __future__ import annotations

from onnx_trtcal.cli.block_words import shown_columns, verdict_lines
from onnx_trtcal.fidelity.blocks import Block, BlockError

BOX = BlockError(Block("y", 2, 0, 4), 1.0, 100.0, verdict=True, values=40)
SCORES = BlockError(Block("y", 2, 4, 9), 5.0, 50.0, verdict=True, values=50)
TINY = BlockError(Block("z"), 2.0, 1.0, verdict=False, values=3)


def test_the_worst_block_is_the_verdict() -> None:
    assert verdict_lines((BOX, SCORES, TINY), 8) == [
        "verdict: 10.0 dB in y[:, :, 4:9], the worst of 3 blocks, 8 samples",
        "  y[:, :, 0:4]: 20.0 dB",
        "  y[:, :, 4:9]: 10.0 dB",
        "  z: -3.0 dB (too little power beside the rest of the output to be a verdict)",
    ]
    assert verdict_lines((BOX,), 1) == ["verdict: 20.0 dB in y[:, :, 0:4], 1 sample"]
    assert verdict_lines((TINY,), 2)[0].startswith("verdict: none")
    assert verdict_lines((), 2)[0].startswith("verdict: none")


def test_blocks_without_error_or_values() -> None:
    same = BlockError(Block("s"), 0.0, 9.0, verdict=True, values=3)
    empty = BlockError(Block("e"), 0.0, 0.0, verdict=False, values=0)
    assert verdict_lines((same, empty), 1) == [
        "verdict: exact in s, the worst of 2 blocks, 1 sample",
        "  s: exact",
        "  e: exact (no value in any sample)",
    ]


def test_very_many_blocks_are_cut_short() -> None:
    lines = verdict_lines((SCORES,) * 25, 4)
    assert len(lines) == 22 and lines[-1] == "  and 5 more"


def test_columns_in_which_nothing_stands_are_not_shown() -> None:
    rows = [("a", "", "1", "-"), ("b", "-", "", "")]
    assert shown_columns(("n", "p", "q", "r"), rows) == (["n", "q"], [["a", "1"], ["b", ""]])
    assert shown_columns(("n", "p"), []) == (["n", "p"], [])
