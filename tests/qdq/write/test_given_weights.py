"""A Q/DQ model is written with the scales, integers and biases that a search found."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers.qdq_toys import float_arithmetic
from helpers.toys import model, node
from onnx import numpy_helper

from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.given_weights import GivenBias, GivenWeights
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(4, 3, 2, 2)).astype(np.float32)
MATRIX = RANDOM.normal(size=(4, 6)).astype(np.float32)
CODES = RANDOM.integers(-63, 64, size=KERNEL.shape).astype(np.int8)
SCALES = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
BIAS = np.array([1.0, -2.0, 3.0, 0.5], np.float32)
GIVEN = GivenWeights({"k": SCALES}, {"k": CODES}, {"c": GivenBias(2, BIAS)})


def net() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x k", "c"),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f m", "y"),
    ]
    return model(nodes, {"x": ("N", 3, 5, 5)}, {"c": None, "y": None}, {"k": KERNEL, "m": MATRIX})


SCALES_OF_TENSORS = dict.fromkeys(["x", "c", "r", "p", "f", "y"], 0.05)


@pytest.mark.parametrize("weights", ["int8", "float"])
def test_what_is_given_is_what_runs(weights: str) -> None:
    x = RANDOM.normal(size=(2, 3, 5, 5)).astype(np.float32)
    made = quantize_model(load(net()), SCALES_OF_TENSORS, QdqOptions(weights=weights), given=GIVEN)
    got = float_arithmetic(made.proto(), {"x": x}, ["c"])[0]
    read = np.clip(np.rint(x / np.float32(0.05)), -127, 127) * 0.05
    kernel = CODES * SCALES.reshape(-1, 1, 1, 1)
    wanted = np.zeros((2, 4, 4, 4))
    for i, j in np.ndindex(4, 4):
        wanted[:, :, i, j] = np.einsum("ncij,ocij->no", read[:, :, i : i + 2, j : j + 2], kernel) + BIAS
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    np.testing.assert_array_equal(made.inserted.weight_scales["k"], SCALES)
    ops = [each.op_type for each in made.proto().graph.node]
    plain = quantize_model(load(net()), SCALES_OF_TENSORS, QdqOptions(weights=weights)).proto()
    assert ops == [each.op_type for each in plain.graph.node]


def test_scales_alone_are_rounded_to() -> None:
    made = quantize_model(load(net()), SCALES_OF_TENSORS, given=GivenWeights({"k": SCALES})).proto()
    stored = next(each for each in made.graph.initializer if each.name == "k_quantized")
    wanted = np.clip(np.rint(KERNEL / SCALES.reshape(-1, 1, 1, 1)), -127, 127)
    np.testing.assert_array_equal(numpy_helper.to_array(stored), wanted)


def test_seven_bits_are_within_63() -> None:
    for weights in ("int8", "float"):
        options = QdqOptions(weight_bits=7, weights=weights)
        made = quantize_model(load(net()), SCALES_OF_TENSORS, options)
        np.testing.assert_allclose(
            made.inserted.weight_scales["k"], np.abs(KERNEL).max(axis=(1, 2, 3)) / 63, rtol=1e-6
        )
        for each in made.proto().graph.initializer:
            if each.name in ("k_quantized", "m_quantized"):
                assert np.abs(numpy_helper.to_array(each)).max() == 63


def test_nothing_given_changes_nothing() -> None:
    plain, same = (
        quantize_model(load(net()), SCALES_OF_TENSORS, given=given).proto().SerializeToString()
        for given in (GivenWeights(), GivenWeights({}, {}, {}))
    )
    assert plain == same
    assert not GivenWeights() and GIVEN
