from __future__ import annotations

import numpy as np
import pytest
from helpers.method_shapes import SHAPES, activations, histogram, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.methods import percentile


@settings(max_examples=100, deadline=None)
@given(activations(), st.floats(0.01, 100))
def test_lies_within_a_bin_of_the_exact_percentile(values: np.ndarray, percent: float) -> None:
    tensor = histogram(values)
    exact = np.percentile(np.abs(values), percent, method="inverted_cdf")
    got = percentile.solve(tensor, percent)
    if exact > 0:
        assert abs(got - exact) <= tensor.width * 1.001
    else:
        smallest = np.abs(values[values != 0]).min()
        assert smallest <= got <= smallest + tensor.width


@settings(max_examples=50, deadline=None)
@given(activations())
def test_grows_up_to_amax(values: np.ndarray) -> None:
    tensor = histogram(values)
    answers = [percentile.solve(tensor, p) for p in (0.1, 10, 50, 90, 99, 99.9, 99.99, 100)]
    assert answers == sorted(answers)
    assert answers[-1] == tensor.amax


def test_counts_zeros() -> None:
    tensor = histogram(np.append(np.zeros(900), np.linspace(0.01, 1, 100)))
    assert percentile.solve(tensor, 95) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("solve", [percentile.solve, lambda h, p: percentile.solve_legacy(h, p / 100)])
def test_zeros_that_fill_the_percentile_leave_the_smallest_bin(solve) -> None:
    tensor = histogram(np.append(np.zeros(900), [0.01, 1.0]))
    assert 0.01 <= solve(tensor, 50) <= 0.01 + tensor.coarse()[1]


def test_legacy_takes_the_edge_of_a_coarse_bin() -> None:
    values = np.arange(1, 2049, dtype=np.float32)  # one value a bin, each on its upper edge
    tensor = histogram(values)
    assert percentile.solve_legacy(tensor, 0.5) == 1024
    assert percentile.solve_legacy(tensor, 0.999) == np.ceil(0.999 * 2048)
    assert percentile.solve_legacy(tensor, 1.0) == 2048


def test_legacy_keeps_a_frequent_maximum_as_the_published_cache_does() -> None:
    values = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.float32) / 256
    assert percentile.solve_legacy(histogram(values, "tensorrt"), 0.999999) == 255 / 256


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_legacy_keeps_at_least_its_quantile(shape: str, rule: str) -> None:
    values = sample(shape)
    tensor = histogram(values, rule)
    _, width = tensor.coarse()
    for quantile in (0.5, 0.9, 0.999):
        got = percentile.solve_legacy(tensor, quantile)
        exact = np.quantile(np.abs(values), quantile, method="inverted_cdf")
        if exact > 0:
            assert exact - 1e-6 * width <= got <= exact + width * 1.001
        assert 0 < got <= tensor.amax
