from __future__ import annotations

import numpy as np
import pytest
from helpers.method_shapes import activations, histogram
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.methods import legacy, percentile


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


@pytest.mark.parametrize("solve", [percentile.solve, lambda h, p: legacy.solve(h, p / 100)])
def test_zeros_that_fill_the_percentile_leave_the_smallest_bin(solve) -> None:
    tensor = histogram(np.append(np.zeros(900), [0.01, 1.0]))
    assert 0.01 <= solve(tensor, 50) <= 0.01 + tensor.coarse()[1]
