"""Activations of every shape the methods meet, as seeded arrays and as a hypothesis strategy."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from onnx_trtcal.stats.histogram import Histogram

SHAPES = {
    "two-sided": lambda rng, n: rng.standard_normal(n),
    "relu": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "heavy tail": lambda rng, n: rng.standard_t(3, n),
    "uniform": lambda rng, n: rng.random(n),
    "pixels": lambda rng, n: rng.integers(0, 256, n) / 255,
    "spiky": lambda rng, n: np.where(rng.random(n) < 0.5, 0.447, rng.random(n)),
    "outlier": lambda rng, n: np.append(rng.random(n) * 0.01, 50.0),
    "nearly empty": lambda rng, n: np.append(np.zeros(n), rng.random(3) + 0.1),
    "softmax": lambda rng, n: rng.dirichlet(np.full(10, 0.3), n // 10 + 1).ravel(),
}


def sample(shape: str, seed: int = 0, size: int = 20_000) -> np.ndarray:
    return SHAPES[shape](np.random.default_rng(seed), size).astype(np.float32)


def histogram(values: np.ndarray, rule: str = "stable") -> Histogram:
    result = Histogram(rule)
    result.add(np.asarray(values))
    return result


def centres(tensor: Histogram) -> np.ndarray:
    """What stands for the values of each bin: its centre; amax for the topmost bin with any."""
    values = (np.arange(tensor.counts.size) + 0.5) * tensor.width
    values[np.flatnonzero(tensor.counts)[-1]] = tensor.amax
    return values


def _scaled(shape: str, seed: int, size: int, scale: float) -> np.ndarray:
    values = sample(shape, seed, size) * np.float32(scale)
    return values if values.any() else np.append(values, np.float32(scale))


def activations(most: int = 3000) -> st.SearchStrategy[np.ndarray]:
    """float32 arrays with at least one non-zero value, of magnitudes from 2**-20 to 2**20."""
    return st.builds(
        _scaled,
        st.sampled_from(sorted(SHAPES)),
        st.integers(0, 1000),
        st.integers(1, most),
        st.integers(-20, 20).map(lambda k: 1.37 * 2.0**k),
    )
