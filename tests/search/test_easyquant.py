"""Method easyquant against the search written out in NumPy, and what its result must not depend on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.toys import model, node

from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import calibrate
from onnx_trtcal.report.advice import overclipped

if TYPE_CHECKING:
    import onnx

    from onnx_trtcal.calibration import Calibration

MODELS = Path(__file__).parents[2] / "models"
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(5, 3, 2, 2)).astype(np.float32)
BIAS = RNG.normal(size=5).astype(np.float32)
MATRIX = RNG.normal(size=(6, 8)).astype(np.float32)
OTHER = RNG.normal(size=(8, 7)).astype(np.float32)


def easyquant(proto: onnx.ModelProto | Path, data: object, **options: object) -> Calibration:
    return calibrate(proto, data, Options(method="easyquant", provider="cpu", **options))


def fake(values: np.ndarray, amax: np.ndarray | float, limit: int = 127) -> np.ndarray:
    """INT8 and back, in float64."""
    scale = amax / limit
    return np.clip(np.rint(values / scale), -limit, limit) * scale


def as_found(found: Calibration, name: str, weight: np.ndarray, axis: int) -> np.ndarray:
    """A weight as integers and back, with the scales that were found for it."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    plain = np.abs(weight).max(axis=tuple(k for k in range(weight.ndim) if k != axis)) / 127
    scales = found.weight_scales.get(name, plain).astype(float).reshape(shape)
    return np.clip(np.rint(weight / scales), -127, 127) * scales


def check_weight(found: Calibration, name: str, weight: np.ndarray, similarity_of) -> None:
    """The scale of every channel, axis 0 of the weight, is the best of its hundred or equally good."""
    for channel, row in enumerate(weight):
        amax = float(np.abs(row).max())
        best, tried = slow_best(
            lambda threshold, row=row, at=channel: similarity_of(at, fake(row, threshold)), amax
        )
        mine = float(found.weight_scales[name][channel]) * 127
        nearest = min(tried, key=lambda threshold: abs(threshold - mine))
        assert mine == pytest.approx(nearest, rel=1e-6)
        assert tried[nearest] >= tried[best] - 1e-7


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Conv of one sample (channels, height, width), without padding, one output value at a time."""
    out, _, rows, columns = kernel.shape
    y = np.zeros((out, x.shape[1] - rows + 1, x.shape[2] - columns + 1))
    for o, i, j in np.ndindex(*y.shape):
        y[o, i, j] = (x[:, i : i + rows, j : j + columns] * kernel[o]).sum() + BIAS[o]
    return y


def slow_best(similarity_of, amax: float) -> tuple[float, dict[float, float]]:
    """The threshold of the greatest similarity, and all of them: S = 127 / amax times 0.5 to 2 in 99 steps."""
    found = {amax / (0.5 + 1.5 * k / 99): similarity_of(amax / (0.5 + 1.5 * k / 99)) for k in range(100)}
    return max(found, key=lambda threshold: (found[threshold], threshold)), found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def check(calibration: Calibration, tensor: str, similarity_of) -> None:
    """The threshold found is the best one, or one that float32 cannot tell from it."""
    amax = calibration.collection.histograms[tensor].amax
    best, found = slow_best(similarity_of, amax)
    mine = calibration.thresholds[tensor]
    nearest = min(found, key=lambda threshold: abs(threshold - mine))
    assert mine == pytest.approx(nearest, rel=1e-6)
    assert found[nearest] >= found[best] - 1e-8
    assert calibration.scales[tensor].method == "easyquant"


@pytest.mark.slow
def test_a_convolution_is_searched_as_written_out() -> None:
    proto = model([node("Conv", "x k b", "y")], {"x": ("N", 3, 5, 4)}, {"y": None}, {"k": KERNEL, "b": BIAS})
    data = [sample.astype(np.float32) for sample in RNG.standard_t(4, size=(6, 3, 5, 4))]
    found = easyquant(proto, data)
    kernel = as_found(found, "k", KERNEL.astype(float), 0)

    def similarity(threshold: float) -> float:
        each = [cosine(convolved(x, KERNEL), convolved(fake(x, threshold), kernel)) for x in data]
        return sum(each) / len(each)

    def of_channel(channel: int, row: np.ndarray) -> float:
        mine = KERNEL.astype(float)
        mine[channel] = row
        threshold = found.thresholds["x"]
        pairs = [(convolved(x, KERNEL), convolved(fake(x, threshold), mine)) for x in data]
        exact, got = (
            np.concatenate([each[channel].ravel() for each in side]) for side in zip(*pairs, strict=True)
        )
        return cosine(exact, got)

    check(found, "x", similarity)
    check_weight(found, "k", KERNEL, of_channel)


def test_a_tensor_of_two_layers_gets_the_mean_of_their_similarities() -> None:
    """A Gemm with a transposed weight, whose channels are rows, and a MatMul, whose channels are columns."""
    proto = model(
        [node("Gemm", "x g", "y", transB=1), node("MatMul", "x m", "z")],
        {"x": ("N", 8)},
        {"y": None, "z": None},
        {"g": MATRIX, "m": OTHER},
    )
    data = [sample.astype(np.float32) for sample in RNG.laplace(size=(9, 8))]
    result = easyquant(proto, data)
    g = as_found(result, "g", MATRIX.astype(float), 0)
    m = as_found(result, "m", OTHER.astype(float), 1)

    def similarity(threshold: float) -> float:
        first = [cosine(MATRIX @ x, g @ fake(x, threshold)) for x in data]
        second = [cosine(x @ OTHER, fake(x, threshold) @ m) for x in data]
        return (sum(first) + sum(second)) / (2 * len(data))

    def of_channel(channel: int, row: np.ndarray) -> float:
        pairs = [(MATRIX[channel] @ x, row @ fake(x, result.thresholds["x"])) for x in data]
        return cosine(*np.array(pairs).T)

    check(result, "x", similarity)
    check_weight(result, "g", MATRIX, of_channel)


def test_a_product_of_activations_is_searched_one_operand_after_the_other() -> None:
    random = np.random.default_rng(2)
    proto = model([node("MatMul", "a b", "y")], {"a": ("N", 4, 8), "b": ("N", 8, 3)}, {"y": None})
    shapes = {"a": (4, 8), "b": (8, 3)}
    data = [
        {name: random.standard_t(4, size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(5)
    ]
    found = easyquant(proto, data)
    amax = max(float(np.abs(sample["b"]).max()) for sample in data)

    def similarity(a: float, b: float) -> float:
        each = [cosine(s["a"] @ s["b"], fake(s["a"], a) @ fake(s["b"], b)) for s in data]
        return sum(each) / len(each)

    check(found, "a", lambda threshold: similarity(threshold, amax))
    check(found, "b", lambda threshold: similarity(found.thresholds["a"], threshold))


@pytest.mark.slow
def test_a_planted_outlier_is_clipped_as_far_as_the_interval_goes() -> None:
    """A large value in a channel that hardly counts; fine steps serve the other channels."""
    weight = RNG.normal(size=(16, 8)).astype(np.float32)
    weight[0] = 1e-4
    proto = model([node("MatMul", "x w", "y")], {"x": ("N", 16)}, {"y": None}, {"w": weight})
    rows = RNG.uniform(-1, 1, size=(40, 16)).astype(np.float32)
    rows[:, 0] = 50.0
    found = easyquant(proto, list(rows))
    assert found.thresholds["x"] == pytest.approx(25.0)
    # What the method saw to be better is not called clipped too hard.
    assert overclipped(found) == []


def test_what_no_layer_reads_is_solved_by_mse() -> None:
    proto = model(
        [node("MatMul", "x w", "v"), node("Tanh", "v", "y")], {"x": ("N", 8)}, {"y": None}, {"w": OTHER}
    )
    data = [sample.astype(np.float32) for sample in RNG.normal(size=(9, 8))]
    found, mse = easyquant(proto, data), calibrate(proto, data, Options(method="mse", provider="cpu"))
    assert found.scales["y"].method == "easyquant:mse"
    assert found.scales["y"].scale == mse.scales["y"].scale
    assert found.scales["x"].method == "easyquant"


def test_zeros_are_left_alone() -> None:
    proto = model([node("MatMul", "x w", "y")], {"x": ("N", 8)}, {"y": None}, {"w": OTHER})
    found = easyquant(proto, [np.zeros(8, np.float32)] * 3)
    assert found.thresholds["x"] == 0.0


@pytest.mark.slow
def test_the_result_is_the_same_in_any_order_and_batching() -> None:
    rows = np.load(MODELS / "digits_calib.npy").reshape(-1, 64)
    path = MODELS / "digits_mlp.onnx"
    cache = easyquant(path, list(rows)).cache()
    shuffled = list(np.random.default_rng(0).permutation(rows))
    assert easyquant(path, shuffled, batch_size=5, threads=1).cache() == cache
    assert easyquant(path, iter(shuffled), batch_size=32).cache() == cache


@pytest.mark.slow
def test_both_methods_that_run_the_model_share_its_samples() -> None:
    rows = list(np.load(MODELS / "digits_calib.npy").reshape(-1, 64)[:20])
    path = MODELS / "digits_mlp.onnx"
    options = Options(method="easyquant", method_for=("input=auto",), provider="cpu")
    both = calibrate(path, iter(rows), options)
    alone = easyquant(path, rows)
    assert both.scales["input"].method.startswith("auto:")
    others = {name: scale for name, scale in both.scales.items() if name != "input"}
    assert others
    for name, scale in others.items():
        assert scale == alone.scales[name]


def test_a_channel_with_one_weight_keeps_its_size() -> None:
    weight = np.array([0.7, -1.3, 2.9], np.float32).reshape(3, 1, 1, 1)
    data = [RNG.normal(size=(1, 4, 4)).astype(np.float32) for _ in range(4)]
    proto = model([node("Conv", "x w", "y")], {"x": ("N", 1, 4, 4)}, ("y",), {"w": weight})
    found = as_found(easyquant(proto, data), "w", weight, 0)
    np.testing.assert_allclose(found, weight, rtol=0.01)
