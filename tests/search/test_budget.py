"""What a model costs, and how many samples that leaves."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.toys import model, node

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.search.budget import (
    Work,
    compared_samples,
    default_runs,
    fresh_samples,
    lone_samples,
    most_samples,
    multiply_adds,
)


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
    ("multiply_adds", "samples"), [(0, 512), (1 << 24, 512), (1 << 27, 64), (1 << 30, 32), (None, 64)]
)
def test_cheap_models_are_compared_on_more_samples(multiply_adds: int | None, samples: int) -> None:
    assert most_samples(multiply_adds) == samples


def test_half_of_many_samples_are_compared_and_all_of_few() -> None:
    assert [compared_samples(count) for count in (1, 16, 40, 1000)] == [16, 16, 20, 500]
    assert [fresh_samples(count) for count in (1, 16, 40, 1000)] == [0, 4, 10, 16]
    assert [default_runs(count) for count in (1, 32, 100)] == [320.0, 320.0, 1000.0]


def test_tensors_alone_get_samples_in_proportion_to_the_runs_that_are_left() -> None:
    few, more = lone_samples(400, [1.0, 1.0]), lone_samples(800, [1.0, 1.0])
    assert more == pytest.approx(2 * few, abs=1)
    assert lone_samples(1, [1.0] * 100) == 1
    assert lone_samples(1e9, [1.0]) == 32


def test_a_part_costs_its_share_of_multiply_adds_or_of_nodes() -> None:
    nodes = [node("Gemm", "x g", "v"), node("Relu", "v", "r"), node("MatMul", "r m", "y")]
    weights = {"g": ones(8, 8), "m": ones(8, 24)}
    known = Work(prepare(model(nodes, {"x": ("N", 8)}, {"y": None}, weights), Options()).folded)
    assert known.share(["v", "r"]) == pytest.approx(0.25)
    conv = [node("Conv", "x w", "v"), node("Relu", "v", "y")]
    free = prepare(model(conv, {"x": ("N", 4, "h", 7)}, {"y": None}, {"w": ones(6, 4, 3, 3)}), Options())
    assert Work(free.folded).share(["y"]) == pytest.approx(0.5)
