"""Rounding costs no kernel: NVIDIA's compiler runs the same layers in INT8, with as many kernels."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.compiler import needs_compiler
from helpers.toys import model, node

from onnx_trtcal import Options, QdqOptions, quantize
from onnx_trtcal.trt.compiler.compile_model import compile_model

RANDOM = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return (RANDOM.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@needs_compiler
@pytest.mark.slow
def test_layers_with_and_without_a_bias_stay_in_int8_with_no_kernel_more() -> None:
    nodes = [
        node("Conv", "x k1", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "ar"),
        node("Conv", "ar k2 b2", "b", group=32, pads=[1, 1, 1, 1]),
        node("Relu", "b", "br"),
        node("Conv", "br k3", "c"),
        node("Add", "c ar", "d"),
        node("Relu", "d", "dr"),
        node("Conv", "dr k4", "e", strides=[2, 2]),
        node("Sigmoid", "e", "es"),
        node("Mul", "e es", "y"),
    ]
    constants = {
        "k1": weight(32, 16, 3, 3),
        "k2": weight(32, 1, 3, 3),
        "b2": weight(32),
        "k3": weight(32, 32, 1, 1),
        "k4": weight(32, 32, 3, 3),
    }
    proto = model(nodes, {"x": (1, 16, 24, 24)}, {"y": None}, constants)
    data = RANDOM.normal(size=(9, 16, 24, 24)).astype(np.float32)
    options = Options("minmax", provider="cpu")
    plain = compile_model(quantize(proto, data, options).proto())
    made = quantize(proto, data, options, QdqOptions(round=True))
    assert made.rounding is not None
    assert {"a", "c", "e"} & made.rounding.given.biases.keys()
    rounded = compile_model(made.proto())
    assert not rounded.lost
    assert [layer.precision for layer in rounded.layers] == ["INT8"] * 4
    assert rounded.summary.int8_share == 1
    assert rounded.summary.kernels <= plain.summary.kernels
