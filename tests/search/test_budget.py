"""What a model costs, and how many samples that leaves."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.toys import model, node

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.search.budget import most_samples, multiply_adds


def cost(*arguments: object, **shapes: object) -> int | None:
    return multiply_adds(prepare(model(*arguments, **shapes), Options()).folded)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_multiply_adds_are_counted_one_by_one() -> None:
    conv = [node("Conv", "x w", "y", strides=[2, 2], group=2)]
    # 6 channels of 2 x 3 values, each a sum over 2 channels of 3 x 3.
    assert cost(conv, {"x": ("N", 4, 5, 7)}, {"y": None}, {"w": ones(6, 2, 3, 3)}) == 6 * 2 * 3 * 2 * 9
    back = [node("ConvTranspose", "x w", "y")]
    # Every one of 4 x 5 x 7 values goes to 6 channels of 3 x 3.
    assert cost(back, {"x": ("N", 4, 5, 7)}, {"y": None}, {"w": ones(4, 6, 3, 3)}) == 4 * 5 * 7 * 6 * 9
    two = [node("Gemm", "x g", "v", transB=1), node("Relu", "v", "r"), node("MatMul", "r m", "y")]
    weights = {"g": ones(9, 8), "m": ones(9, 5)}
    assert cost(two, {"x": ("N", 8)}, {"y": None}, weights) == 8 * 9 + 9 * 5
    assert cost(two, {"x": (3, 8)}, {"y": None}, weights) == 3 * (8 * 9 + 9 * 5)
    product = [node("MatMul", "a b", "y")]
    assert cost(product, {"a": ("N", 7, 4, 8), "b": ("N", 7, 8, 3)}, {"y": None}) == 7 * 4 * 8 * 3
    assert cost(product, {"a": ("N", 8), "b": (8,)}, {"y": None}) == 8


def test_a_free_size_other_than_the_batch_leaves_the_cost_open() -> None:
    conv = [node("Conv", "x w", "y")]
    assert cost(conv, {"x": ("N", 4, "h", 7)}, {"y": None}, {"w": ones(6, 4, 3, 3)}) is None


@pytest.mark.parametrize(
    ("searched", "multiply_adds", "samples"),
    [
        (16, 1_000_000, 256),
        (16, 2**28, 64),
        (16, 2**40, 32),
        (16, None, 64),
        (1, 0, 512),
        (1000, 10, 8),
        (0, 10, 512),
    ],
)
def test_cheap_models_are_searched_on_more_samples(searched: int, multiply_adds: int, samples: int) -> None:
    assert most_samples(searched, multiply_adds) == samples
