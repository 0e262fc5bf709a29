"""A small network, its quantized form written out in NumPy, and scales that make one layer bad on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helpers import toys
from onnx_trtcal.trt.cache import Cache

if TYPE_CHECKING:
    import onnx

HEADER = "TRT-100300-EntropyCalibration2"


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    shapes = {"w1": (32, 24), "b1": (24,), "w2": (24, 20), "b2": (20,), "w3": (20, 7), "b3": (7,)}
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def perceptron() -> onnx.ModelProto:
    """Three Gemms with Relu between them; every layer is named after its output."""
    nodes = [
        toys.node("Gemm", "x w1 b1", "g1", name="one"),
        toys.node("Relu", "g1", "r1", name="relu_one"),
        toys.node("Gemm", "r1 w2 b2", "g2", name="two"),
        toys.node("Relu", "g2", "r2", name="relu_two"),
        toys.node("Gemm", "r2 w3 b3", "y", name="three"),
    ]
    return toys.model(nodes, {"x": ["batch", 32]}, {"y": ["batch", 7]}, weights())


def samples(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 32)).astype(np.float32)


def forward(x: np.ndarray, scales: dict[str, float] | None = None) -> dict[str, np.ndarray]:
    """All tensors of the network, in float32 or, given scales, in simulated INT8 by the definition."""
    of, values = weights(), {"x": x}
    for index, (source, target) in enumerate((("x", "r1"), ("r1", "r2"), ("r2", "y")), 1):
        data, weight = values[source], of[f"w{index}"]
        if scales is not None:
            data, weight = fake_quantize(data, scales[source]), fake_quantize_columns(weight)
        result = (data @ weight + of[f"b{index}"]).astype(np.float32)
        values[target] = result if target == "y" else np.maximum(result, 0)
    return values


def fake_quantize(x: np.ndarray, scale: float) -> np.ndarray:
    s = np.float32(scale)
    return (np.clip(np.rint(x / s), -128, 127) * s).astype(np.float32)


def fake_quantize_columns(weight: np.ndarray) -> np.ndarray:
    return np.stack([fake_quantize(column, np.abs(column).max() / np.float32(127)) for column in weight.T], 1)


def scales(x: np.ndarray) -> dict[str, float]:
    """max |t| / 127 of every tensor, as a calibration by min-max finds it."""
    return {
        name: float(np.float32(np.abs(values).max()) / np.float32(127)) for name, values in forward(x).items()
    }


def cache(of: dict[str, float]) -> Cache:
    return Cache(HEADER, of)


def sqnr(expected: np.ndarray, got: np.ndarray) -> float:
    e, g = expected.astype(np.float64), got.astype(np.float64)
    return float(10 * np.log10((e**2).sum() / ((e - g) ** 2).sum()))
