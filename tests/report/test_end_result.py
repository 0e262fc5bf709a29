"""What is said of a look at the end result."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import fakes
from helpers.small import CPU

from onnx_trtcal import EndResult, calibrate
from onnx_trtcal.fidelity.blocks import Block, BlockError
from onnx_trtcal.report.end_result import alarm_lines, end_result_line

GOOD = BlockError(Block("boxes"), 1.0, 1e4, verdict=True, values=9)
BAD = BlockError(Block("out", 1, 4, 84), 1.0, 2.0, verdict=True, values=9)
FAINT = BlockError(Block("rest"), 1.0, 1e-9, verdict=False, values=9)
ROWS = list(fakes.samples(9))


def test_one_line_names_the_worst() -> None:
    assert end_result_line(EndResult(8, (BAD, GOOD, FAINT))) == (
        "INT8 against FP32 on 8 samples: worst of the outputs, 'out[:, 4:84]' 3.0 dB"
    )
    assert end_result_line(EndResult(1, (GOOD,))) == "INT8 against FP32 on 1 sample: 'boxes' 40.0 dB"
    exact = replace(GOOD, noise=0.0)
    assert end_result_line(EndResult(4, (exact,))).endswith("'boxes' exact")


def test_where_there_is_nothing_to_say() -> None:
    assert "no output can be compared" in end_result_line(EndResult(4, ()))
    assert "too close to zero" in end_result_line(EndResult(4, (FAINT,)))


def test_what_is_faint_is_not_lost() -> None:
    found = EndResult(8, (GOOD, FAINT))
    assert found.lost == () and alarm_lines(found, calibrate(fakes.perceptron(), ROWS, CPU), "rank") == []


@pytest.mark.parametrize(("method", "advised"), [("entropy", True), ("mse", True), ("auto", False)])
def test_the_alarm_names_what_is_lost_and_what_to_run(method: str, advised: bool) -> None:
    calibration = calibrate(fakes.perceptron(), ROWS, replace(CPU, method=method))
    said = alarm_lines(EndResult(8, (BAD, GOOD)), calibration, "onnx-trtcal sensitivity m d")
    first, second = said
    assert "under 10 dB" in first and "on 8 samples: 'out[:, 4:84]' 3.0 dB" in first and "boxes" not in first
    assert ("--method auto" in second) == advised and second.endswith("onnx-trtcal sensitivity m d")


def test_of_many_the_first_are_named() -> None:
    lost = tuple(replace(BAD, block=Block(f"o{index}")) for index in range(9))
    said = alarm_lines(EndResult(8, lost), calibrate(fakes.perceptron(), ROWS, CPU), "rank")
    assert "'o4' 3.0 dB and 4 more" in said[0]
