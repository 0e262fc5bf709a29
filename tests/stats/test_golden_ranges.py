"""Scales TensorRT itself wrote, from its histogram rule and a plain reading of its search.

The data are seeded draws of NumPy's legacy generator; each comment names the TensorRT version that wrote the
scale. The search here is a slow one of its own, so that the histogram is what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.slow_histogram import counted

if TYPE_CHECKING:
    from onnx_trtcal.stats.histogram import Histogram


def slow_scale(histogram: Histogram) -> str:
    counts, width = histogram.coarse()
    counts = counts.astype(np.float64)
    counts[0] = max(counts[1], 1)
    divergence = {}
    for kept in range(128, 2049):
        p = counts[:kept].copy()
        level = np.arange(kept) * 128 // kept
        filled = p > 0
        mean = np.bincount(level, p, 128) / np.maximum(np.bincount(level, filled, 128), 1)
        q = np.where(filled, mean[level], 0)
        p[-1] += counts[kept:].sum()
        p, q = p / p.sum(), q / q.sum()
        with np.errstate(divide="ignore"):
            divergence[kept] = np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
    best = max(kept for kept, value in divergence.items() if value == min(divergence.values()))
    scale = np.float32(np.float32((best + 0.5) * width) / np.float32(127))
    return f"{scale.view(np.uint32):08x}"


def case_a() -> list[np.ndarray]:
    random = np.random.RandomState(97)
    return [random.rand(60).astype(np.float32).reshape(1, 3, 4, 5) for _ in range(10)]


def ones_convolution(x: np.ndarray) -> np.ndarray:
    """3x3, pad 1, all-ones weights, two output channels."""
    padded = np.pad(x.sum(axis=1), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.stack([windows.sum(axis=(3, 4))] * 2, axis=1)


@pytest.mark.slow
def test_case_a() -> None:  # TensorRT 7.0.0
    batches = case_a()
    assert slow_scale(counted(*batches, rule="tensorrt")) == "3c00e995"
    convolved = counted(*map(ones_convolution, batches), rule="tensorrt")
    # TensorRT wrote 3e0a9eac; its range came from sums in another order.
    assert abs(int(slow_scale(convolved), 16) - 0x3E0A9EAC) <= 1


def test_case_b() -> None:  # TensorRT 8.2.4
    values = np.random.RandomState(97).rand(32).astype(np.float32) * 200 - 100
    assert slow_scale(counted(values[:8], rule="tensorrt")) == "3f4014c9"


@pytest.mark.slow
@pytest.mark.parametrize(("added", "scale"), [(0, "3ebfcfb9"), (1, "3ec3d80a")])  # TensorRT 10.0.1, 10.6.0
def test_case_c(added: int, scale: str) -> None:
    values = np.random.RandomState(31193).rand(48).astype(np.float32) * (48 * 2) - 48
    assert slow_scale(counted(values + np.float32(added), rule="tensorrt")) == scale
