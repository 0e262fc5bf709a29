from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.method_shapes import activations, centres, histogram
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.methods.score import Score, score


@settings(max_examples=80, deadline=None)
@given(activations(), st.floats(0.05, 1.2))
def test_is_what_quantizing_the_bin_centres_gives(values: np.ndarray, share: float) -> None:
    tensor = histogram(values)
    x = np.append(np.repeat(centres(tensor), tensor.counts), np.zeros(tensor.zeros))
    threshold = share * tensor.amax
    q = np.clip(np.rint(x / (threshold / 127)), -127, 127) * (threshold / 127)
    got = score(tensor, threshold)
    assert got.clipped == (x > threshold).mean()
    assert got.mse == pytest.approx(((x - q) ** 2).mean(), rel=1e-9)
    assert got.cosine == pytest.approx((x @ q) / np.sqrt((x @ x) * (q @ q)) if q.any() else 0.0)
    if got.mse:
        assert got.sqnr == pytest.approx(10 * np.log10((x @ x) / ((x - q) @ (x - q))), rel=1e-6)


def test_is_close_to_quantizing_the_values_themselves() -> None:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    scale = 3.5 / 127
    quantized = np.clip(np.rint(values / scale), -127, 127) * scale
    got = score(histogram(values), 3.5)
    assert got.clipped == (np.abs(values) > 3.5).mean()
    assert got.mse == pytest.approx(((values - quantized) ** 2).mean(), rel=0.01)


def test_of_nothing_and_with_nothing() -> None:
    for values in (np.zeros(5), np.zeros(0)):
        assert score(histogram(values), 0.0) == Score(0.0, 0.0, math.inf, 1.0)
    ones = score(histogram(np.append(np.ones(3), 0)), 0.0)
    assert ones.clipped == 0.75 and ones.sqnr == 0 and ones.cosine == 0


def test_nothing_is_clipped_at_amax() -> None:
    tensor = histogram(np.array([0.3, 5.000001]))
    assert score(tensor, tensor.amax).clipped == 0


def test_a_constant_above_the_threshold_is_clipped_whole() -> None:
    tensor = histogram(np.full(5, 2.0))
    got = score(tensor, 2.0 - tensor.width / 4)
    assert got.clipped == 1 and got.mse == pytest.approx((tensor.width / 4) ** 2)
