"""Headroom against distributions whose best threshold is known, and where none is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.search.headroom import headroom
from onnx_trtcal.stats.histogram import Histogram


def counted(values: np.ndarray) -> Histogram:
    found = Histogram()
    found.add(values.astype(np.float32))
    return found


def squared_error(values: np.ndarray, threshold: float) -> float:
    scale = threshold / 127
    found = np.clip(np.rint(values / scale), -127, 127) * scale
    return float(((found - values) ** 2).mean())


@pytest.mark.parametrize("count", [512, 4096])
@pytest.mark.parametrize("law", ["laplace", "exponential", "normal"])
def test_other_values_of_the_same_law_lose_less(law: str, count: int) -> None:
    rng = np.random.default_rng(count)
    draw = getattr(rng, law)
    others = draw(size=100_000)
    with_it, without = [], []
    for _ in range(16):
        histogram = counted(draw(size=count))
        without.append(squared_error(others, histogram.amax))
        with_it.append(squared_error(others, histogram.amax * headroom(histogram)))
    assert np.mean(with_it) < np.mean(without)


def test_of_laplace_values_it_is_what_the_best_threshold_asks_for() -> None:
    """At 8 bits 9.9 times the scale parameter is best (Banner et al., 2019, arXiv 1810.05723)."""
    rng = np.random.default_rng(0)
    drawn = [counted(rng.laplace(size=4096)) for _ in range(50)]
    assert np.mean([each.amax * headroom(each) for each in drawn]) == pytest.approx(9.9, rel=0.1)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(5000),
        np.arange(1.0, 12.0),
        np.full(5000, 3.0),
        np.minimum(np.random.default_rng(0).exponential(3.0, 5000), 6.0),
        np.random.default_rng(0).laplace(size=2_000_000),
        np.append(np.random.default_rng(0).uniform(size=5000), 40.0),
    ],
    ids=["zeros", "too few", "a constant", "saturated", "many", "one far out"],
)
def test_there_is_none(values: np.ndarray) -> None:
    assert headroom(counted(values)) == 1.0


def test_it_does_not_depend_on_the_unit_or_on_the_order() -> None:
    values = np.random.default_rng(3).exponential(size=2000)
    assert headroom(counted(values)) > 1
    assert headroom(counted(values[::-1])) == headroom(counted(values)) == headroom(counted(values * 2.0**20))
    assert headroom(counted(-values)) == headroom(counted(values))
