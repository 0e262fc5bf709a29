"""The entropy search against the algorithm written down plainly, and what must hold for any histogram."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.method_shapes import SHAPES, histogram, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.methods.entropy import kept_bins, solve


def reference(counts: np.ndarray) -> int:
    """Every candidate in full, as published: P with outliers, Q without, both normalised, KL summed."""
    bins = counts.astype(np.float64)
    bins[0] = max(bins[1], 1)
    divergence = {}
    for i in range(128, bins.size + 1):
        p = bins[:i].copy()
        p[i - 1] += bins[i:].sum()
        level = np.arange(i) * 128 // i
        kept, some = bins[:i], bins[:i] > 0
        mean = np.bincount(level, kept, 128) / np.maximum(np.bincount(level, some, 128), 1)
        q = np.where(some, mean[level], 0)
        p, q = p / p.sum(), q / q.sum()
        some = p > 0
        with np.errstate(divide="ignore"):
            divergence[i] = np.sum(p[some] * np.log(p[some] / q[some]))
    least = min(divergence.values())
    return max(i for i, value in divergence.items() if value <= least + 1e-12)


@st.composite
def counts(draw: st.DrawFn) -> np.ndarray:
    bins = draw(st.integers(128, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["relu", "two-sided", "spiky", "nearly empty", "one bin", "even", "huge"]))
    if kind == "one bin":
        return np.bincount([draw(st.integers(0, bins - 1))] * draw(st.integers(1, 9)), minlength=bins)
    if kind == "nearly empty":
        return np.bincount(rng.integers(0, bins, draw(st.integers(1, 12))), minlength=bins)
    if kind == "even":
        return np.full(bins, draw(st.integers(1, 5)))
    values = np.abs(rng.standard_normal(5000) if kind == "relu" else rng.laplace(size=2000))
    span = values.max() * draw(st.sampled_from([1, 1.4, 2, 4]))
    result = np.bincount((values / span * (bins - 1)).astype(int), minlength=bins)
    if kind == "relu":
        result[0] += 5000
    if kind == "spiky":
        result[rng.integers(0, bins, 4)] += 10_000
    if kind == "huge":
        result = result * 10**11 + rng.integers(0, 10**9, bins)
    return result


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(counts())
def test_agrees_with_every_candidate_written_out(counts: np.ndarray) -> None:
    assert kept_bins(counts) == reference(counts)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_agrees_on_full_histograms_of_every_shape(shape: str) -> None:
    coarse, _ = histogram(sample(shape)).coarse()
    assert kept_bins(coarse) == reference(coarse)


@settings(max_examples=50, deadline=None)
@given(counts(), st.integers(0, 10**12))
def test_zeros_do_not_matter(counts: np.ndarray, zeros: int) -> None:
    more = counts.copy()
    more[0] += zeros
    assert kept_bins(more) == kept_bins(counts)


def test_ties_keep_the_most_bins() -> None:
    sparse = np.zeros(2048, int)
    sparse[[3, 300, 900]] = 1  # each alone in its level: nothing is lost from 901 bins on
    assert kept_bins(sparse) == 2048
    assert kept_bins(np.full(2048, 7)) == 2048


def test_outliers_on_an_empty_bin_are_no_candidate() -> None:
    counts = np.zeros(2048, int)
    counts[:130] = 100
    counts[1999] = 1
    # Every i from 131 to 1999 ends on an empty bin with an outlier beyond it.
    assert kept_bins(counts) in (128, 129, 130, *range(2000, 2049))


def test_keeps_its_argument() -> None:
    counts = np.arange(2048)
    kept_bins(counts)
    assert (counts == np.arange(2048)).all()


@pytest.mark.parametrize("power", [-9, 4])
@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_threshold_scales_with_the_values(shape: str, rule: str, power: int) -> None:
    values = sample(shape, size=2000)
    scaled = histogram(values * np.float32(2.0**power), rule)
    assert solve(scaled) == solve(histogram(values, rule)) * 2.0**power


def test_scales_tensorrt_wrote_for_seeded_data() -> None:
    """The inputs of three published runs; TensorRT 7.0.0, 8.2.4 and 10.0.1 wrote these hexadecimal scales."""
    random = np.random.RandomState(97)
    a = histogram(random.rand(60).astype(np.float32), "tensorrt")
    for _ in range(9):
        a.add(random.rand(60).astype(np.float32))
    b = np.random.RandomState(97).rand(32).astype(np.float32) * np.float32(200) - np.float32(100)
    c = np.random.RandomState(31193).rand(48).astype(np.float32) * np.float32(96) - np.float32(48)
    written = {"3c00e995": a, "3f4014c9": histogram(b[:8], "tensorrt"), "3ebfcfb9": histogram(c, "tensorrt")}
    written["3ec3d80a"] = histogram(c + np.float32(1), "tensorrt")
    for expected, tensor in written.items():
        scale = np.float32(np.float32(solve(tensor)) / np.float32(127))
        assert f"{scale.view(np.uint32):x}" == expected
