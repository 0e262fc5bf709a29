"""Networks whose outputs have as many rows as their values make them have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helpers import toys

if TYPE_CHECKING:
    import onnx

WIDTH = 24


def picking(threshold: float, rows: int | str = 6, batch: int | str = 1) -> onnx.ModelProto:
    """Scores every row of a stack of rows, picks those above a threshold, and runs two more layers on them.

    `scored` is MatMul(x), of known size; `picked`, `hidden` and `y` have one row for each row picked.
    """
    weights = _weights()
    nodes = [
        toys.node("MatMul", "x w0", "scored"),
        toys.node("Reshape", "scored flat", "all"),
        toys.node("ReduceMax", "all", "best", axes=[1], keepdims=0),
        toys.node("Greater", "best threshold", "above"),
        toys.node("NonZero", "above", "places"),
        toys.node("Squeeze", "places zero", "which"),
        toys.node("Gather", "all which", "picked"),
        toys.node("MatMul", "picked w1", "hidden"),
        toys.node("Relu", "hidden", "kept"),
        toys.node("MatMul", "kept w2", "y"),
    ]
    constants = {
        **weights,
        "flat": np.array([-1, WIDTH]),
        "threshold": np.float32(threshold),
        "zero": np.array([0]),
    }
    return toys.model(nodes, {"x": [batch, rows, 16]}, {"y": ["picked", 4]}, constants, opset=13)


def best_of(sample: np.ndarray) -> np.ndarray:
    """The score of every row of a sample, which `picking` compares with its threshold."""
    return (sample[0] @ _weights()["w0"]).max(axis=1)


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        name: rng.standard_normal(shape).astype(np.float32) / 5
        for name, shape in {"w0": (16, WIDTH), "w1": (WIDTH, 20), "w2": (20, 4)}.items()
    }


def stacks(count: int, seed: int = 0, rows: int = 6) -> list[np.ndarray]:
    """Samples for `picking`, with a batch axis of 1."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, rows, 16)).astype(np.float32) for _ in range(count)]


def dynamic_classes() -> onnx.ModelProto:
    """A classifier with a NonZero inside, whose output has one row a sample all the same."""
    rng = np.random.default_rng(4)
    nodes = [
        toys.node("Relu", "x", "r"),
        toys.node("NonZero", "r", "places"),
        toys.node("Transpose", "places", "which", perm=[1, 0]),
        toys.node("GatherND", "r which", "values"),
        toys.node("ScatterND", "r which values", "same"),
        toys.node("MatMul", "same w", "y"),
    ]
    weight = rng.standard_normal((32, 20)).astype(np.float32)
    return toys.model(nodes, {"x": ["n", 32]}, {"y": ["n", 20]}, {"w": weight})


def noise_of_sets(one: np.ndarray, other: np.ndarray) -> float:
    """Rows paired nearest first while that beats leaving both alone; those left over count in full."""
    rms = np.sqrt((one**2).mean(0))
    left, right = list(range(len(one))), list(range(len(other)))
    noise = 0.0
    while left and right:
        apart, i, j = min(
            (float((((one[i] - other[j]) / rms) ** 2).sum()), i, j) for i in left for j in right
        )
        if apart >= float(((one[i] / rms) ** 2).sum() + ((other[j] / rms) ** 2).sum()):
            break
        noise += float(((one[i] - other[j]) ** 2).sum())
        left.remove(i)
        right.remove(j)
    return noise + float((one[left] ** 2).sum() + (other[right] ** 2).sum())
