"""Independent slow references: one value at a time, in exact fractions or in scalar float32."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from onnx_trtcal.stats.histogram import Histogram

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
SPECIAL = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, -1.0, 2.0, 0.5, 3.4028235e38, 2.0**-126, 2.0**-149)


def magnitudes(values: np.ndarray) -> list[float]:
    return [abs(float(value)) for value in values.ravel()]


def stable_state(values: np.ndarray) -> tuple[Fraction, dict[int, int]]:
    """(width, bin -> count) by the definition of the rule `stable`."""
    positive = [Fraction(x) for x in magnitudes(values) if 0 < x < math.inf]
    if not positive:
        return Fraction(0), {}
    top = Fraction(2) ** -126
    while top < max(positive):
        top *= 2
    width = top / 32768
    return width, dict(Counter(math.ceil(x / width) - 1 for x in positive))


def tensorrt_state(batches: list[np.ndarray]) -> tuple[float, dict[int, int]]:
    """(range, bin -> count) by TensorRT's steps, for float32 batches within the middle of its range."""
    top = np.float32(0)
    counts: Counter[int] = Counter()
    for batch in batches:
        finite = [np.float32(x) for x in magnitudes(batch) if 0 < x < math.inf]
        largest = max(finite, default=np.float32(0))
        if top == 0:
            top = largest
        while top < largest:
            top = np.float32(top * 2)
            counts = sum((Counter({k // 2: n}) for k, n in counts.items()), Counter())
        for x in finite:
            counts[min(int(np.float32(x * np.float32(2048)) / top), 2047)] += 1
    return float(top), dict(counts)


def bins(histogram: Histogram) -> dict[int, int]:
    return {int(k): int(histogram.counts[k]) for k in np.flatnonzero(histogram.counts)}


def counted(*arrays: np.ndarray, rule: str = "stable") -> Histogram:
    histogram = Histogram(rule)
    for array in arrays:
        histogram.add(array)
    return histogram


def arrays_of(dtype: type, most: int = 60) -> st.SearchStrategy[np.ndarray]:
    """Arrays with values of every size the dtype has, NaN, Inf, zeros, and values on the edges of bins."""
    width = 64 if dtype is np.float64 else 32
    anything = st.floats(width=width, allow_nan=True, allow_infinity=True)
    edges = st.builds(lambda k, e: k * 2.0**e, st.integers(-32768, 32768), st.integers(-20, 5))
    usual = st.floats(-10, 10, width=width)
    one = st.one_of(usual, edges, anything, st.sampled_from(SPECIAL))

    def make(values: list[float]) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(dtype)

    return st.lists(one, max_size=most).map(make)


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    return draw(arrays_of(draw(st.sampled_from(DTYPES))))
