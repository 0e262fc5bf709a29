"""Rows as sets: what was shuffled, lost and invented is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.fidelity.row_sets import paired_rows

RNG = np.random.default_rng(0)


def test_order_is_no_error() -> None:
    rows = RNG.uniform(0, 100, size=(12, 6)).astype(np.float32)
    pair = paired_rows(rows, rows[::-1], 0)
    assert pair is not None and np.array_equal(*pair)
    pair = paired_rows(rows.T[None], rows.T[None, :, ::-1], 2)
    assert pair is not None and np.array_equal(*pair) and pair[0].shape == (1, 6, 12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1), st.integers(0, 99))
def test_lost_and_new_rows_stand_beside_zeros(kept: int, lost: int, new: int, axis: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Rows far from each other and far from zero, at places of their own.
    places = random.permutation(np.eye(20) * 50)[: kept + lost + new]
    near = places[:kept] + random.normal(size=(kept, 20)) * 0.1
    one, other = places[: kept + lost], np.concatenate([near, places[kept + lost :]])
    order = random.permutation(len(other))
    pair = paired_rows(np.moveaxis(one, 0, axis), np.moveaxis(other[order], 0, axis), axis)
    assert pair is not None
    left, right = (np.moveaxis(each, axis, 0) for each in pair)
    assert len(left) == len(right) == kept + lost + new
    assert (np.abs(left - right).max(1, initial=0) < 1).sum() == kept
    assert (right == 0).all(1).sum() == lost and (left == 0).all(1).sum() == new
    assert left.sum() == pytest.approx(one.sum()) and right.sum() == pytest.approx(other.sum())


def test_nearest_pairs_come_first() -> None:
    pair = paired_rows(np.array([1.0, 2.0]), np.array([1.9, 0.2]), 0)
    assert pair is not None
    # 2 takes 1.9; 1 and 0.2 are nearer to each other than both to zero.
    assert pair[0].tolist() == [1.0, 2.0] and pair[1].tolist() == [0.2, 1.9]


def test_rows_of_another_width_cannot_be_paired() -> None:
    assert paired_rows(np.ones((3, 4)), np.ones((3, 5)), 0) is None


def test_very_many_rows_are_paired_in_order() -> None:
    many = np.ones((13000, 1), np.float32)
    pair = paired_rows(many, np.concatenate([many * 2, many[:1]]), 0)
    assert pair is not None and pair[0].shape == (13001, 1)
    assert pair[0][13000] == 0 and pair[1][13000] == 1 and (pair[1][:13000] == 2).all()
