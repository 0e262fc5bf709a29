"""The verdict in words, and tables without empty columns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from onnx_trtcal.cli.block_words import noise_bars, verdict_lines
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


def test_of_very_many_blocks_the_ten_worst_are_listed_in_the_order_of_the_outputs() -> None:
    blocks = [replace(SCORES, block=Block(f"y{at}"), noise=float(at + 1)) for at in range(25)]
    blocks[3] = replace(TINY, block=Block("y3"))
    lines = verdict_lines(blocks, 4)
    assert [line.split(":")[0] for line in lines[1:-1]] == [f"  y{at}" for at in range(15, 25)]
    assert lines[-1] == "  ... and 15 more (-v shows all)"
    assert len(verdict_lines(blocks, 4, most=25)) == 26


def test_noise_is_a_share_of_the_largest() -> None:
    assert noise_bars([20.0, 40.0, math.inf, None, math.nan]) == pytest.approx([1, 0.1, 0, 0, 0])
    assert noise_bars([40.0, 20.0], 0.0) == pytest.approx([0.01, 0.1])
    assert noise_bars([-60.0, -math.inf]) == (1.0, 1.0)  # more noise than signal is no longer told apart
    assert noise_bars([math.inf]) == (0.0,) and noise_bars([]) == ()
