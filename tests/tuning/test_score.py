"""The one figure that a target is about."""

from __future__ import annotations

import math

import pytest

from onnx_trtcal.errors import ModelError
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.tasks.outcome import Outcome
from onnx_trtcal.evaluation.tasks.result import Target
from onnx_trtcal.fidelity.blocks import Block, BlockError
from onnx_trtcal.tuning.score import NOISE, score_of

BLOCKS = [
    BlockError(Block("y", 1, 0, 4), noise=1.0, signal=100.0, verdict=True, values=8),
    BlockError(Block("y", 1, 4, 8), noise=3.0, signal=100.0, verdict=True, values=8),
    BlockError(Block("y", 1, 8, 9), noise=1.0, signal=1.0, verdict=False, values=8),
]


def outcome(name: str, fp32: float, int8: float) -> Outcome:
    return Outcome(target=Target(name, Merit(fp32, int8, None)))


def test_a_drop_is_how_much_worse_int8_is() -> None:
    found = score_of(outcome("top-1", 0.9, 0.87), BLOCKS, 100, lower_is_better=False)
    assert found.drop == pytest.approx(0.03)
    assert (found.noise, found.block) == (0.03, "y[:, 4:8]")
    assert found.meets(0.03) and not found.meets(0.029)


def test_an_error_must_not_rise() -> None:
    assert score_of(outcome("wer", 0.1, 0.3), BLOCKS, 9, lower_is_better=True).drop == pytest.approx(0.2)
    better = score_of(outcome("wer", 0.3, 0.1), BLOCKS, 9, lower_is_better=True)
    assert better.drop == pytest.approx(-0.2) and better.meets(0)


def test_a_figure_that_is_not_a_number_never_meets_a_target() -> None:
    assert score_of(outcome("psnr", 30.0, math.nan), BLOCKS, 9, lower_is_better=False).drop == math.inf


def test_without_answers_it_is_the_noise_in_the_worst_block() -> None:
    found = score_of(Outcome(), BLOCKS, 9, lower_is_better=False)
    assert (found.figure, found.drop, found.fp32) == (NOISE, 0.03, 0.0)


def test_between_equal_drops_the_noise_decides() -> None:
    quiet, loud = (
        score_of(outcome("top-1", 0.9, 0.95), blocks, 9, lower_is_better=False)
        for blocks in (BLOCKS[:1], BLOCKS)
    )
    worse = score_of(outcome("top-1", 0.9, 0.89), BLOCKS[:1], 9, lower_is_better=False)
    assert sorted([worse, loud, quiet], key=lambda score: score.rank) == [quiet, loud, worse]


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ModelError, match="nothing tells how good an answer is"):
        score_of(Outcome(), [], 9, lower_is_better=False)
