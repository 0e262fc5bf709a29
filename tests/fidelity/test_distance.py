"""Distances against their definition in NumPy, and the same to the bit however samples are batched."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.fidelity.distance import Distance, decibels


def test_sums_follow_their_definitions():
    random = np.random.default_rng(0)
    x = random.normal(0, 2, (5, 3, 4)).astype(np.float32)
    y = (x + random.normal(0, 0.1, x.shape)).astype(np.float32)
    distance = Distance()
    distance.add(x, y, rows=5)
    a, b = x.astype(np.float64), y.astype(np.float64)
    assert distance.sqnr == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()))
    assert distance.cosine == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    assert distance.max_error == np.abs(a - b).max()
    assert distance.values == 60


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float16, np.float64]))
def test_batches_do_not_show_in_the_result(size, seed, dtype):
    random = np.random.default_rng(seed)
    x, y = (random.normal(0, 1, (9, 7)).astype(dtype) for _ in range(2))
    whole, parts = Distance(), Distance()
    whole.add(x, y, rows=9)
    for first in range(0, 9, size):
        parts.add(x[first : first + size], y[first : first + size], rows=len(x[first : first + size]))
    assert whole == parts


def test_rows_that_only_fill_a_batch_do_not_count():
    x, y = np.ones((4, 2), np.float32), np.zeros((4, 2), np.float32)
    distance = Distance()
    distance.add(x, y, rows=3)
    assert (distance.values, distance.signal) == (6, 6.0)


def test_values_that_are_not_finite_are_counted_apart():
    distance = Distance()
    distance.add(
        np.array([1, np.nan, np.inf, 2], np.float32), np.array([1, 0, 0, -np.inf], np.float32), rows=None
    )
    assert (distance.nonfinite, distance.values, distance.sqnr) == (3, 1, math.inf)


@pytest.mark.parametrize(
    ("expected", "got", "sqnr", "cosine"),
    [(0.0, 0.0, math.inf, 1.0), (0.0, 1.0, -math.inf, 0.0), (1.0, 1.0, math.inf, 1.0), (1.0, 0.0, 0.0, 0.0)],
)
def test_edges(expected, got, sqnr, cosine):
    distance = Distance()
    distance.add(np.full(3, expected, np.float32), np.full(3, got, np.float32))
    assert (distance.sqnr, distance.cosine) == (sqnr, cosine)


def test_cosine_of_tiny_values_does_not_underflow():
    distance = Distance()
    distance.add(np.full(4, 1e-40, np.float32), np.full(4, 1e-40, np.float32))
    assert distance.cosine == pytest.approx(1.0)


def test_decibels():
    assert decibels(100.0, 1.0) == pytest.approx(20.0)
