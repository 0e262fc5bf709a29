"""Evaluations and rankings as plain fields."""

from __future__ import annotations

import math

from onnx_trtcal.evaluation.fields import block_fields, worst_name
from onnx_trtcal.fidelity.blocks import Block, BlockError

BOX = BlockError(Block("y", 2, 0, 4), 1.0, 100.0, verdict=True, values=40)
TINY = BlockError(Block("z"), 2.0, 1.0, verdict=False, values=3)


def test_blocks() -> None:
    (box, tiny) = block_fields((BOX, TINY))
    assert box == {
        "name": "y[:, :, 0:4]",
        "output": "y",
        "axis": 2,
        "channels": [0, 4],
        "sqnr": 20.0,
        "relative": 0.01,
        "verdict": True,
    }
    assert (tiny["channels"], tiny["verdict"]) == (None, False) and not math.isnan(BOX.sqnr)
    assert worst_name(None) is None and worst_name(BOX) == "y[:, :, 0:4]"
