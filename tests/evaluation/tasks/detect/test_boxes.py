"""Suppression and matching against slow references, written out from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, corners_of, match, overlaps, suppress

SIDES = st.integers(0, 6)


@st.composite
def detections(draw: st.DrawFn, most: int = 6) -> Detections:
    boxes = [
        (left, top, left + width, top + height)
        for left, top, width, height in draw(st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), max_size=most))
    ]
    count = len(boxes)
    scores = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=count, max_size=count))
    classes = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    return Detections(
        np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, np.int64)
    )


def slow_iou(one: np.ndarray, other: np.ndarray) -> float:
    """By counting the unit squares that both cover; coordinates are whole."""

    def squares(box: np.ndarray) -> set[tuple[int, int]]:
        left, top, right, bottom = map(int, box)
        return {(x, y) for x in range(left, right) for y in range(top, bottom)}

    union = squares(one) | squares(other)
    return len(squares(one) & squares(other)) / len(union) if union else 0.0


def slow_suppress(found: Detections, threshold: float) -> list[int]:
    kept: list[int] = []
    for at in sorted(range(len(found)), key=lambda index: (-found.scores[index], index)):
        rivals = (other for other in kept if found.classes[other] == found.classes[at])
        if all(slow_iou(found.boxes[at], found.boxes[other]) <= threshold for other in rivals):
            kept.append(at)
    return kept


def slow_match(one: Detections, other: Detections, threshold: float) -> list[tuple[int, int]]:
    pairs = [
        (-slow_iou(one.boxes[i], other.boxes[j]), i, j)
        for i in range(len(one))
        for j in range(len(other))
        if one.classes[i] == other.classes[j] and slow_iou(one.boxes[i], other.boxes[j]) >= threshold
    ]
    found: list[tuple[int, int]] = []
    for _, i, j in sorted(pairs):
        if all(i != left and j != right for left, right in found):
            found.append((i, j))
    return found


@pytest.mark.slow
@settings(max_examples=50)
@given(detections(), detections())
def test_overlap_is_that_of_counted_squares(one: Detections, other: Detections) -> None:
    expected = [[slow_iou(left, right) for right in other.boxes] for left in one.boxes]
    np.testing.assert_allclose(
        overlaps(one.boxes, other.boxes), np.array(expected).reshape(len(one), len(other)), atol=1e-12
    )


@pytest.mark.slow
@settings(max_examples=50)
@given(detections(), st.sampled_from([0.0, 0.2, 0.45, 0.7, 1.0]))
def test_suppression_keeps_what_the_definition_keeps(found: Detections, threshold: float) -> None:
    kept = suppress(found, threshold)
    expected = found.take(np.array(slow_suppress(found, threshold), np.int64))
    np.testing.assert_array_equal(kept.boxes, expected.boxes)
    np.testing.assert_array_equal(kept.scores, expected.scores)
    np.testing.assert_array_equal(kept.classes, expected.classes)


@pytest.mark.slow
@settings(max_examples=50)
@given(detections(), detections(), st.sampled_from([0.1, 0.5, 0.75]))
def test_matching_takes_the_pairs_that_overlap_most(
    one: Detections, other: Detections, threshold: float
) -> None:
    found = match(one, other, threshold)
    assert [(i, j) for i, j, _ in found] == slow_match(one, other, threshold)
    for i, j, overlap in found:
        assert overlap == pytest.approx(slow_iou(one.boxes[i], other.boxes[j]))


@pytest.mark.slow
@settings(max_examples=50)
@given(detections())
def test_a_model_matches_itself_whole(found: Detections) -> None:
    solid = found.take((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1))
    pairs = match(solid, solid, 0.5)
    assert len(pairs) == len(solid)
    assert all(overlap == 1 for _, _, overlap in pairs)


def test_suppression_stops_at_the_most() -> None:
    boxes = corners_of(np.array([[10.0 * index, 5.0] for index in range(6)]), np.full((6, 2), 4.0))
    found = Detections(boxes, np.linspace(0.9, 0.4, 6), np.zeros(6, np.int64))
    assert suppress(found, 0.5, most=2).scores.tolist() == [0.9, 0.8]


def test_what_is_not_finite_is_not_detected() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, np.inf, 1], [0, 0, 1, 1]])
    found = Detections(boxes, np.array([0.5, 0.9, np.nan]), np.zeros(3, np.int64))
    assert found.above(0.25).scores.tolist() == [0.5]
    assert len(found.above(0.5)) == 0  # above, not at
