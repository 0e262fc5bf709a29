from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.methods import Method
from onnx_trtcal.methods.mxnet import SignedHistogram, solve


def signed(values: np.ndarray) -> SignedHistogram:
    result = SignedHistogram(float(np.abs(values).max()))
    result.add(values)
    return result


def smoothed(values: np.ndarray) -> np.ndarray:
    zero = values == 0
    return np.where(zero, 1e-4, values - 1e-4 * zero.sum() / (~zero).sum())


def reference(histogram: SignedHistogram) -> float:
    """Every candidate with NumPy arrays."""
    counts = histogram.counts.astype(np.float64)
    counts[2000] = 0
    divergences = []
    for i in range(127, 2001):
        kept = counts[2000 - i : 2001 + i].copy()
        p = kept.copy()
        p[0] += counts[: 2000 - i].sum()
        p[-1] += counts[2001 + i :].sum()
        kept[0] = 0
        group = np.minimum(np.arange(kept.size) // (kept.size // 255), 254)
        mean = np.bincount(group, kept) / np.maximum(np.bincount(group, p > 0), 1)
        q = np.where(p > 0, mean[group], 0)
        if not p.any() or not q.any():
            divergences.append(np.inf)
            continue
        p, q = smoothed(p), smoothed(q)
        p, q = p / p.sum(), q / q.sum()
        divergences.append((p * np.log(p / q)).sum() if (q > 0).all() else np.inf)
    best = 127 + int(np.argmin(divergences))
    return float(np.linspace(-histogram.limit, histogram.limit, 4002)[2001 + best])


DRAWS = {
    1: lambda rng: rng.standard_normal(1_000_000),
    2: lambda rng: np.maximum(rng.standard_normal(1_000_000), 0),
    3: lambda rng: rng.laplace(size=1_000_000),
    4: lambda rng: rng.standard_t(3, 1_000_000),
}


@pytest.mark.parametrize(
    ("seed", "amax", "threshold"),
    [
        (1, 5.04043436, 4.75068188),
        (2, 5.59472179, 4.62707663),
        (3, 14.35149193, 10.96538639),
        (4, 193.96966553, 33.20900345),
    ],
)
def test_gives_what_the_published_port_gives(seed: int, amax: float, threshold: float) -> None:
    values = DRAWS[seed](np.random.default_rng(seed)).astype(np.float32)
    assert np.abs(values).max() == np.float32(amax)
    assert Method("mxnet").solve(signed(values)) == np.float32(threshold)


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 40, 3000, 200_000])
@pytest.mark.parametrize("seed", DRAWS)
def test_agrees_with_every_candidate_written_out(seed: int, size: int) -> None:
    histogram = signed(DRAWS[seed](np.random.default_rng(seed))[-size:])
    assert solve(histogram) == reference(histogram)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_counts_as_numpy_does(dtype: type) -> None:
    values = np.random.default_rng(5).standard_normal((50, 1000)).astype(dtype)
    histogram = signed(values)
    expected, edges = np.histogram(values.astype(np.float64), 4001, (-histogram.limit, histogram.limit))
    assert (histogram.counts == expected).all()
    assert (histogram.edges == edges).all()


@pytest.mark.parametrize("limit", [1.0, 0.3, 7.7, 204800.0])
def test_values_on_edges_lie_above_them(limit: float) -> None:
    histogram = SignedHistogram(limit)
    histogram.add(histogram.edges)
    assert (histogram.counts[:-1] == 1).all() and histogram.counts[-1] == 2
    histogram.add(np.nextafter(histogram.edges[1:], -np.inf))
    assert (histogram.counts[:-1] == 2).all() and histogram.counts[-1] == 3


def test_what_lies_beyond_or_is_no_number_is_not_counted() -> None:
    histogram = SignedHistogram(1e6)
    histogram.add(np.array([np.nan, np.inf, -np.inf, 3e5, -3e5, 204800, 1]))
    assert histogram.limit == 204800 and histogram.counts.sum() == 2


def test_parts_add_up_to_the_whole() -> None:
    values = np.random.default_rng(6).laplace(size=10_000)
    whole, parts = signed(values), [SignedHistogram(float(np.abs(values).max())) for _ in range(2)]
    for k, part in enumerate(parts):
        part.add(values[k::2])
    parts[1].merge(parts[0])
    assert (parts[1].counts == whole.counts).all()
    with pytest.raises(StatisticsError, match="do not add up"):
        whole.merge(SignedHistogram(1.0))


def test_degenerate_tensors() -> None:
    assert solve(SignedHistogram(0.0)) == 0
    assert solve(SignedHistogram(2.0)) == 2
    assert solve(signed(np.full(10, -3.0))) <= 3
    only_beyond = SignedHistogram(1e9)
    only_beyond.add(np.array([1e9, 0.5]))
    assert solve(only_beyond) == 204800
    with pytest.raises(StatisticsError, match="cannot span"):
        SignedHistogram(np.inf)
