"""The one figure that a target is about."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from onnx_trtcal.errors import ModelError
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.tasks.outcome import Outcome
from onnx_trtcal.evaluation.tasks.result import Target
from onnx_trtcal.fidelity.blocks import Block, BlockError
from onnx_trtcal.tuning.score import NOISE, Score, score_of

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


def of_first(drop: float, noise: float) -> Score:
    return Score(NOISE, 0.0, 0.5, 0.5, None, 0.5, "y", 90, first=(drop, noise))


@pytest.mark.parametrize(
    ("drop", "noise", "hopeless"),
    [(0.1, 0.3, True), (0.1, 0.21, False), (0.05, 0.3, False), (0.2, 0.1, False)],
    ids=["louder", "hardly louder", "louder with a smaller drop", "less loud with a larger drop"],
)
def test_what_is_louder_and_no_better_on_the_first_samples_is_given_up(
    drop: float, noise: float, hopeless: bool
) -> None:
    best = of_first(0.1, 0.2)
    assert of_first(drop, noise).is_hopeless_beside(best) == hopeless
    assert not of_first(drop, noise).is_hopeless_beside(replace(best, first=None))


def test_what_was_given_up_is_compared_on_the_first_samples_and_meets_no_target() -> None:
    whole = of_first(0.1, 0.2)
    given_up = replace(of_first(0.2, 0.3), drop=0.2, noise=0.3, samples=32, partial=True)
    assert whole.rank < given_up.rank and not given_up.meets(1.0)
    assert given_up.beside(whole) == ((0.2, 0.3), (0.1, 0.2))
    assert whole.beside(whole) == ((0.5, 0.5), (0.5, 0.5))
    assert Score.of(json.loads(json.dumps(asdict(given_up)))) == given_up
