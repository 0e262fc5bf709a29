from __future__ import annotations

import numpy as np
import pytest
from helpers.method_shapes import SHAPES, histogram, sample

from onnx_trtcal.methods import legacy


def test_takes_the_edge_of_a_coarse_bin() -> None:
    values = np.arange(1, 2049, dtype=np.float32)  # one value a bin, each on its upper edge
    tensor = histogram(values)
    assert legacy.solve(tensor, 0.5) == 1024
    assert legacy.solve(tensor, 0.999) == np.ceil(0.999 * 2048)
    assert legacy.solve(tensor, 1.0) == 2048


def test_keeps_a_frequent_maximum_as_the_published_cache_does() -> None:
    values = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.float32) / 256
    assert legacy.solve(histogram(values, "tensorrt"), 0.999999) == 255 / 256


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_keeps_at_least_its_quantile(shape: str, rule: str) -> None:
    values = sample(shape)
    tensor = histogram(values, rule)
    _, width = tensor.coarse()
    for quantile in (0.5, 0.9, 0.999):
        got = legacy.solve(tensor, quantile)
        exact = np.quantile(np.abs(values), quantile, method="inverted_cdf")
        if exact > 0:
            assert exact - 1e-6 * width <= got <= exact + width * 1.001
        assert 0 < got <= tensor.amax
