"""Top-1, top-5 and the standard error of a paired difference, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.accuracy import Tally, as_classes, class_output, paired


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 12))
def test_scores_follow_their_definitions(seed, classes, count):
    random = np.random.default_rng(seed)
    # Few different values, so that there are ties.
    fp32, int8 = (random.integers(0, 4, (count, classes)).astype(np.float64) for _ in range(2))
    labels = random.integers(0, classes, count)
    tally = Tally()
    for one, other, label in zip(fp32, int8, labels, strict=True):
        tally.add(one, other, int(label), "s")
    assert tally.agreement == np.mean(fp32.argmax(1) == int8.argmax(1))
    for width in (1, 5) if classes > 5 else (1,):
        right = [
            np.array(
                [
                    label in np.argsort(-row, kind="stable")[:width]
                    for row, label in zip(of, labels, strict=True)
                ]
            )
            for of in (fp32, int8)
        ]
        score = tally.scores[f"top-{width}"]
        difference = right[1].astype(float) - right[0].astype(float)
        assert (score.fp32, score.int8) == (right[0].mean(), right[1].mean())
        assert score.error == pytest.approx(difference.std() / np.sqrt(count))
    assert ("top-5" in tally.scores) == (classes > 5)


def test_without_labels_only_agreement_is_known():
    tally = Tally()
    tally.add(np.array([1.0, 2.0]), np.array([2.0, 1.0]), None, "s")
    assert tally.agreement == 0.0 and tally.scores == {}


@pytest.mark.parametrize("label", [-1, 3, "cat"])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(DataError, match=r"sample 'a\.png'"):
        Tally().add(np.zeros(3), np.zeros(3), label, "a.png")


def test_nan_is_never_the_right_answer():
    tally = Tally()
    tally.add(np.array([1.0, 0.5]), np.array([np.nan, 0.5]), 0, "s")
    assert tally.scores["top-1"].int8 == 0.0


def test_paired_numbers_have_no_error_and_paired_arrays_do():
    assert paired(np.array(0.5), np.array(0.25)).error is None
    score = paired(np.array([1.0, 0, 1, 1]), np.array([1.0, 1, 0, 1]))
    assert (score.fp32, score.int8, score.error) == (0.75, 0.75, pytest.approx(np.sqrt(0.5 / 4)))


@pytest.mark.parametrize(
    ("shape", "known"),
    [((10,), True), ((10, 1, 1), True), ((1, 10), True), ((2, 5), False), ((1,), False), ((), False)],
)
def test_outputs_with_one_value_per_class(shape, known):
    assert (as_classes(np.zeros(shape, np.float32)) is not None) == known


def test_the_first_output_with_classes_is_taken():
    outputs = {
        "mask": np.zeros((4, 4), np.float32),
        "id": np.zeros(3, np.int64),
        "p": np.zeros(3, np.float32),
    }
    assert class_output(outputs) == "p"
    assert class_output({"mask": outputs["mask"]}) is None
