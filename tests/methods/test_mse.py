from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.method_shapes import SHAPES, activations, centres, histogram, sample
from hypothesis import given, settings

from onnx_trtcal.methods.mse import candidates, solve

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram


def error(tensor: Histogram, threshold: float) -> float:
    """The definition, bin by bin."""
    x = centres(tensor)
    scale = threshold / 127
    return float((tensor.counts * (x - scale * np.minimum(np.rint(x / scale), 127)) ** 2).sum())


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_no_candidate_is_better(shape: str, rule: str) -> None:
    tensor = histogram(sample(shape, size=3000), rule)
    best = error(tensor, solve(tensor))
    noise = 1e-12 * (tensor.counts.sum() * tensor.amax**2)
    for bins in candidates(tensor.amax / tensor.width)[::3]:
        assert best <= error(tensor, bins * tensor.width) + noise


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_no_threshold_at_all_is_much_better(shape: str) -> None:
    tensor = histogram(sample(shape, size=3000))
    elsewhere = np.random.default_rng(1).uniform(tensor.amax / 64, tensor.amax, 300)
    assert error(tensor, solve(tensor)) <= 1.01 * min(error(tensor, t) for t in elsewhere) + 1e-12


def test_levels_meet_the_values_of_a_quantized_tensor() -> None:
    steps = np.random.default_rng(0).integers(-127, 128, 5000)
    steps[0] = 127
    tensor = histogram(steps.astype(np.float32) * np.float32(0.03))
    assert solve(tensor) == pytest.approx(127 * 0.03, rel=1e-4)


def test_one_outlier_is_clipped_when_the_rest_loses_more() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(10**6), 40.0)
    assert 4 < solve(histogram(values)) < 30


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("value", [2.0, 1.999, 0.3, 5e-42])
def test_a_constant_is_kept_exactly(value: float, rule: str) -> None:
    tensor = histogram(np.full(9, value, np.float32), rule)
    assert solve(tensor) == tensor.amax == np.float32(value)


@settings(max_examples=60, deadline=None)
@given(activations())
def test_is_amax_or_below_its_bin(values: np.ndarray) -> None:
    tensor = histogram(values)
    assert solve(tensor) == tensor.amax or solve(tensor) <= (tensor.used().size - 1) * tensor.width


def test_candidates_reach_from_amax_to_128_bins_in_quarter_levels() -> None:
    grid = candidates(30000.0)
    assert grid[0] == 30000 and 128 <= grid[-1] < 128 * 1.002
    assert (np.diff(grid) < 0).all() and (-np.diff(grid) / grid[:-1] * 127 < 0.26).all()
    assert candidates(50.0).tolist() == [50.0]


@settings(max_examples=60, deadline=None)
@given(activations())
def test_is_positive_and_clips_nothing_that_is_not_there(values: np.ndarray) -> None:
    tensor = histogram(values)
    assert 0 < solve(tensor) <= tensor.amax
