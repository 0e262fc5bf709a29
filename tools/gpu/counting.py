"""Arrays that a counter could get wrong, and whether the GPU counts them as the CPU does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from onnx_trtcal.stats.cuda.counter import CudaCounter
from onnx_trtcal.stats.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.stats.cuda.gpu import Gpu

Batches = list[dict[str, np.ndarray]]


def cases(size: int) -> Iterator[tuple[str, Batches]]:
    """(what is tried, batches of tensors): ranges that grow, every dtype, every kind of value."""
    random = np.random.default_rng(0)

    def normal(scale: float, count: int = size) -> np.ndarray:
        return (random.standard_normal(count) * scale).astype(np.float32)

    yield "normal, growing", [{"a": normal(s), "b": normal(1 / s)} for s in (1e-3, 1.0, 1e3, 0.1)]
    patterns = random.integers(0, 1 << 32, size, dtype=np.uint32).view(np.float32)
    yield "any bit pattern", [{"a": patterns}, {"a": patterns * np.float32(0.5)}]
    sixteen = np.arange(1 << 16, dtype=np.uint16)
    yield (
        "every float16 and bfloat16",
        [{"a": sixteen.view(np.float16), "b": sixteen.view(ml_dtypes.bfloat16)}] * 2,
    )
    below = np.arange(1, 1 << 23, max((1 << 23) // size, 1), dtype=np.uint32).view(np.float32)
    yield "subnormal", [{"a": below[: len(below) // 9], "b": below}, {"a": below, "b": normal(1.0)}]
    edges = np.ldexp(np.arange(1, 32769, dtype=np.float32), -15)[:: max(32768 // size, 1)]
    around = np.concatenate([edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(2))])
    yield "edges of bins", [{"a": edges}, {"a": around}, {"a": -around}]
    saturated = np.clip(normal(8.0), 0, 6)
    yield "saturated", [{"a": saturated, "b": np.full(size, 0.75, np.float32)}] * 2
    zeros = np.zeros(size, np.float32)
    empty = np.zeros(0, np.float32)
    yield "zeros and nothing", [{"a": zeros, "b": empty}, {"a": normal(1.0), "b": zeros[:7]}]
    odd = normal(1.0)
    odd[::3], odd[1::3] = np.nan, -np.inf
    yield "NaN and Inf", [{"a": odd, "b": normal(1.0)}, {"a": normal(9.0), "b": odd}]
    yield "float64", [{"a": normal(1.0).astype(np.float64)}, {"a": normal(1.0) * 1e200}]
    yield "many small", [{f"t{k}": normal(0.1 + k, k) for k in range(1, min(size, 400))} for _ in range(2)]


def find_mismatches(gpu: Gpu, size: int) -> list[str]:
    """Each case and rule that the GPU counts otherwise than the CPU."""
    wrong = []
    for rule in ("stable", "tensorrt"):
        with np.errstate(all="ignore"):
            for name, batches in cases(size):
                found = {tensor: Histogram(rule) for tensor in batches[0]}
                expected = {tensor: Histogram(rule) for tensor in batches[0]}
                counts = CudaCounter(gpu, found)
                for batch in batches:
                    counts.add({tensor: gpu.upload(array) for tensor, array in batch.items()})
                    for tensor, array in batch.items():
                        expected[tensor].add(array)
                counts.settle()
                wrong += [
                    f"{name}, {rule}: {tensor}" for tensor in found if found[tensor] != expected[tensor]
                ]
    return wrong
