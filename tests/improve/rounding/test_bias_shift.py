"""The shift that makes the mean behind an activation what it should be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnx_trtcal.improve.rounding.bias_shift import channel_means, find_shift

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "hard-swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_planted_shift_is_found_again(name: str) -> None:
    random = np.random.default_rng(0)
    activation = ACTIVATIONS[name]
    values = random.normal(loc=[1, 0.5, 4], scale=2, size=(2000, 3)).astype(np.float32)
    planted = np.array([0.3, -0.25, 0.4])
    wanted = channel_means(activation(values + planted))
    found = find_shift(values, wanted, activation)
    np.testing.assert_allclose(found, planted, atol=2e-3)


def test_the_mean_behind_the_activation_counts_and_not_the_one_before() -> None:
    """Half of the values lie beyond 6: raising all by as much as the others lost would be too little."""
    exact = np.tile(np.array([[1.0], [9.0]], np.float32), (500, 1))
    got = np.tile(np.array([[0.8], [9.2]], np.float32), (500, 1))
    relu6 = ACTIVATIONS["relu6"]
    shift = find_shift(got, channel_means(relu6(exact)), relu6)
    assert abs(channel_means(got - exact)[0]) < 1e-6  # nothing to mend before it
    assert shift[0] == pytest.approx(0.2, abs=1e-3)


def test_a_mean_out_of_reach_leaves_the_channel_alone() -> None:
    values = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    wanted = channel_means(np.maximum(values, 0)) + np.array([50.0, 0.01])
    shift = find_shift(values, wanted, ACTIVATIONS["relu"])
    assert shift[0] == 0
    assert 0 < shift[1] < 0.05
    constant = np.full((10, 1), -3.0, np.float32)
    assert find_shift(constant, np.array([0.5]), ACTIVATIONS["relu"]) == 0
