"""The thresholds that are tried."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.methods import parse_method
from onnx_trtcal.search.candidates import METHODS_TRIED, candidates
from onnx_trtcal.stats.histogram import Histogram


def counted(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram


def test_every_method_and_a_grid_below_amax() -> None:
    histogram = counted(np.random.default_rng(0).standard_t(3, 20000))
    found = candidates(histogram)
    solved = [parse_method(text).solve(histogram) for text in METHODS_TRIED]
    assert set(solved) <= set(found.values())
    grid = [value for name, value in found.items() if name.startswith("amax*")]
    assert len(grid) > 4
    for k, value in enumerate(grid, 1):
        assert value == pytest.approx(histogram.amax * 2 ** (-k / 4), rel=1e-6)
    assert min(grid) >= 0.6 * min(solved)


def test_equal_thresholds_appear_once() -> None:
    found = candidates(counted(np.full(100, 2.0)))
    assert len(set(found.values())) == len(found)


def test_zeros_have_one_candidate() -> None:
    assert list(candidates(counted(np.zeros(5))).values()) == [0.0]
