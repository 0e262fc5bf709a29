"""Rounding of whole models: what is kept, what it must not depend on, and what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers.toys import model, node, run
from onnx import numpy_helper

from onnx_trtcal import Cache, Options, QdqOptions, calibrate, dequantize, lint, quantize
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.improve.rounding.round_model import held_back, most_samples, round_weights
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.scale_source import find_scales
from onnx_trtcal.support.progress import LoggingListener

if TYPE_CHECKING:
    from onnx_trtcal.quantization import Quantization

MODELS = Path(__file__).parents[3] / "models"
OPTIONS = Options(method="mse", provider="cpu")
ROUND = QdqOptions(round=True)


def net(seed: int = 0, *, activation: str = "relu6") -> onnx.ModelProto:
    """Convolutions of every kind, decomposed activations, a residual, and products at the end."""
    random = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    gates = {
        "relu6": [node("Clip", "b low high", "b_act")],
        "hard-swish": [
            node("Add", "b three", "b3"),
            node("Clip", "b3 low high", "bc"),
            node("Mul", "b bc", "bm"),
            node("Div", "bm six", "b_act"),
        ],
    }
    nodes = [
        node("Conv", "x k1 b1", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "a_act"),
        node("Conv", "a_act k2", "b", group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
        *gates[activation],
        node("Conv", "b_act k3 b3_", "c"),
        node("Add", "c a_act", "d"),
        node("Sigmoid", "d", "d_gate"),
        node("Mul", "d d_gate", "d_act"),
        node("Conv", "d_act k4", "e", group=2, strides=[2, 2]),
        node("Relu", "e", "e_act"),
        node("GlobalAveragePool", "e_act", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f g gb", "h", transB=1),
        node("LeakyRelu", "h", "h_act", alpha=0.1),
        node("MatMul", "h_act m", "i"),
        node("Add", "i mb", "y"),
    ]
    constants = {
        "k1": weight(8, 3, 3, 3),
        "b1": weight(8),
        "k2": weight(8, 1, 3, 3),
        "k3": weight(8, 8, 1, 1),
        "b3_": weight(8),
        "k4": weight(12, 4, 3, 3),
        "g": weight(10, 12),
        "gb": weight(10),
        "m": weight(10, 5),
        "mb": weight(5),
        "low": np.float32(0),
        "high": np.float32(6),
        "three": np.float32(3),
        "six": np.float32(6),
    }
    return model(nodes, {"x": ("N", 3, 12, 10)}, {"y": ("N", 5)}, constants)


def samples(count: int = 24, seed: int = 1) -> np.ndarray:
    """Smooth images, as a net would see them."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(count, 3, 4, 4)).repeat(3, 2).repeat(3, 3)[:, :, :12, :10]
    return (2 * coarse + 0.3 * random.normal(size=coarse.shape)).astype(np.float32)


def noise(exact: onnx.ModelProto, made: Quantization, data: np.ndarray) -> float:
    """Noise over signal at the output."""
    wanted, got = (run(proto, {"x": data})[0].astype(float) for proto in (exact, made.proto()))
    return float(((wanted - got) ** 2).sum() / (wanted**2).sum())


def integers(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {
        each.name: numpy_helper.to_array(each)
        for each in proto.graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1
    }


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu6", "hard-swish"])
def test_every_kind_of_layer_gains_and_unseen_samples_do_too(activation: str) -> None:
    proto = net(activation=activation)
    plain = quantize(proto, samples(), OPTIONS)
    made = quantize(proto, samples(), OPTIONS, ROUND)
    rounding = made.rounding
    assert rounding is not None
    assert rounding.layers == 6
    assert rounding.rounded >= 4
    assert rounding.after < rounding.before
    unseen = samples(64, seed=9)
    assert noise(proto, made, unseen) < noise(proto, plain, unseen)
    before, after = integers(plain.proto()), integers(made.proto())
    assert before.keys() == after.keys()
    changed = [name for name in before if (before[name] != after[name]).any()]
    assert len(changed) == rounding.rounded
    # Nothing but integers and biases changes: no op more, every scale as it was.
    assert [each.op_type for each in plain.proto().graph.node] == [
        each.op_type for each in made.proto().graph.node
    ]
    assert {**made.quantized.inserted.scales} == {**plain.quantized.inserted.scales}
    assert not [each for each in lint(made.proto()) if each.level == "error"]


@pytest.mark.slow
def test_order_batches_and_threads_make_no_difference() -> None:
    proto, data = net(), samples()
    wanted = quantize(proto, data, OPTIONS, ROUND).proto().SerializeToString()
    shuffled = list(np.random.default_rng(3).permutation(data))
    for options in (Options("mse", provider="cpu", batch_size=5), Options("mse", provider="cpu", threads=1)):
        assert quantize(proto, shuffled, options, ROUND).proto().SerializeToString() == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    "qdq",
    [
        QdqOptions(round=True),
        QdqOptions(round=True, weights="float"),
        QdqOptions(round=True, high_precision="fp16"),
        QdqOptions(round=True, weight_bits=7),
    ],
)
def test_the_float_model_comes_back_with_the_rounded_weights(qdq: QdqOptions) -> None:
    proto, data = net(2), samples()
    made = quantize(proto, data, OPTIONS, qdq)
    assert made.rounding is not None
    assert made.rounding.rounded
    back = dequantize(made.proto())
    kept = {each.name: numpy_helper.to_array(each) for each in back.proto().graph.initializer}
    given = made.rounding.given
    for name, codes in given.integers.items():
        scales = made.quantized.inserted.weight_scales[name].astype(np.float32)
        axis = 1 if name == "m" else 0
        shape = [1] * codes.ndim
        shape[axis] = -1
        wanted = codes * scales.reshape(shape)
        found = next(
            array for key, array in kept.items() if key.startswith(name) and array.shape == codes.shape
        )
        np.testing.assert_allclose(
            found.astype(np.float32), wanted, rtol=1e-3 if "fp16" in str(qdq) else 1e-6
        )
        assert np.abs(codes).max() <= (63 if qdq.weight_bits == 7 else 127)
    exact, got = (run(each, {"x": data})[0] for each in (made.proto(), back.proto()))
    assert ((exact - got) ** 2).sum() < 0.01 * (exact**2).sum()
    assert back.scales == dequantize(quantize(proto, data, OPTIONS).proto()).scales


@pytest.mark.slow
def test_what_does_not_help_is_left_as_it_was() -> None:
    """Weights that are integers already, and inputs on the grid: nothing can get better."""
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, size=(6, 4)).astype(np.float32)
    weight[:, 0] = 127
    proto = model([node("MatMul", "x w", "y")], {"x": ("N", 4)}, {"y": None}, {"w": weight.T[:4].copy()})
    rows = random.integers(-127, 128, size=(30, 4)).astype(np.float32)
    rows[:, 1] = 127
    plain = quantize(proto, rows, Options("minmax", provider="cpu"))
    made = quantize(proto, rows, Options("minmax", provider="cpu"), ROUND)
    assert made.rounding is not None
    assert (made.rounding.rounded, made.rounding.corrected) == (0, 0)
    assert made.proto().SerializeToString() == plain.proto().SerializeToString()


@pytest.mark.slow
def test_a_shared_weight_is_left_alone() -> None:
    random = np.random.default_rng(4)
    weight = random.normal(size=(6, 6)).astype(np.float32)
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b w", "y")]
    proto = model(nodes, {"x": ("N", 6)}, {"y": None}, {"w": weight})
    made = quantize(proto, random.normal(size=(20, 6)).astype(np.float32), OPTIONS, ROUND)
    assert made.rounding is not None
    assert made.rounding.layers == 0


@pytest.mark.slow
def test_the_shortcut_of_a_residual_comes_before_the_kernel_that_adds_it() -> None:
    """The graph has the main branch first, whose kernel reads what the shortcut's makes."""
    random = np.random.default_rng(2)
    constants = {
        name: random.normal(size=(4, 4, size, size)).astype(np.float32) / 4
        for name, size in (("k1", 3), ("k2", 3), ("s", 1), ("t", 1))
    }
    nodes = [
        node("Conv", "x k1", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "ar"),
        node("Conv", "ar k2", "b", pads=[1, 1, 1, 1]),
        node("Conv", "x s", "c"),
        node("Add", "b c", "d"),
        node("Relu", "d", "dr"),
        node("MaxPool", "dr", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p t", "y"),
    ]
    proto = model(nodes, {"x": ("N", 4, 8, 8)}, {"y": None}, constants)
    made = quantize(proto, random.normal(size=(12, 4, 8, 8)).astype(np.float32), OPTIONS, ROUND)
    assert made.rounding is not None
    assert made.rounding.layers == 4
    assert made.rounding.rounded >= 2


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu6", "hard-swish"])
def test_the_error_it_tells_is_that_of_the_model_that_is_written(activation: str) -> None:
    """Biases of every kind: of a Conv with and without one, a Gemm with a factor, and an Add behind a MatMul."""
    proto = net(2, activation=activation)
    next(each for each in proto.graph.node if each.op_type == "Gemm").attribute.append(
        onnx.helper.make_attribute("beta", 0.5)
    )
    data = samples()
    found = find_scales(proto, data, OPTIONS)
    feeds = [{"x": each[None]} for each in data]
    session_options = (choose_provider("cpu"), None, ())
    told = round_weights(found, feeds, ROUND, session_options, LoggingListener())
    assert told.corrected >= 2
    back = held_back(len(feeds))[1]
    for given, error in ((GivenWeights(), told.before), (told.given, told.after)):
        written = quantize_model(found.model, found.scales, ROUND, given=given).proto()
        pairs = [[run(each, feeds[at])[0].astype(float) for each in (proto, written)] for at in back]
        noise = sum(((exact - got) ** 2).sum() for exact, got in pairs)
        assert noise / sum((exact**2).sum() for exact, _ in pairs) == pytest.approx(error, rel=0.02)


def test_without_samples_it_is_refused() -> None:
    proto, data = net(), samples(4)
    calibration = calibrate(proto, data, OPTIONS)
    for source, words in (
        (Cache("TRT-100300-EntropyCalibration2", {"x": 0.1}), "a cache source has none"),
        (calibration.collection, "a statistics source has none"),
        (calibration, "a calibration source has none"),
    ):
        with pytest.raises(OptionError, match=words):
            quantize(proto, source, OPTIONS, ROUND)
    with pytest.raises(DataError, match="only once"):
        quantize(proto, iter(data), OPTIONS, ROUND)
    with pytest.raises(DataError, match="two different samples at least"):
        quantize(proto, data[:1], OPTIONS, ROUND)


def test_how_samples_are_divided() -> None:
    assert held_back(2) == ([0], [1])
    assert held_back(7) == ([0, 1, 3, 4, 6], [2, 5])
    assert [most_samples(cost) for cost in (None, 10, 2**27, 2**40)] == [32, 96, 64, 16]


def test_a_model_that_is_cut_short_is_refused() -> None:
    with pytest.raises(OptionError, match="--until ends it early"):
        quantize(net(), samples(4), replace(OPTIONS, until=("c",)), ROUND)
