"""The switched model: all off is the float model, all on the Q/DQ model, and every kernel by itself in between."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import toys
from helpers.fakes import fake_quantize, fake_quantize_columns, forward, perceptron, samples, scales, weights

from onnx_trtcal.evaluation.switched_graph import build_switched_graph, quantized_nodes
from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.prepared import fold_model
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model


@pytest.fixture(scope="module")
def data():
    return samples(6)


@pytest.fixture(scope="module", params=["int8", "float"])
def switched(request, data):
    model = fold_model(load(perceptron()))
    return build_switched_graph(model, scales(data), QdqOptions(weights=request.param))


def run(switched, data, on):
    return toys.run(export_model(switched.graph, switched.model), {"x": data, **switched.feeds(on)}, ["y"])[0]


def test_all_off_is_the_float_model_to_the_bit(switched, data):
    assert np.array_equal(run(switched, data, ()), toys.run(perceptron(), {"x": data})[0])


def test_all_on_is_the_quantized_model_to_the_bit(switched, data):
    made = quantize_model(load(perceptron()), scales(data))
    assert quantized_nodes(made.placement) == set(switched.switches)
    assert np.array_equal(run(switched, data, switched.switches), toys.run(made.proto(), {"x": data})[0])


def test_one_kernel_alone(switched, data):
    of, values = weights(), forward(data)
    on = ["g2"]
    middle = fake_quantize(values["r1"], scales(data)["r1"]) @ fake_quantize_columns(of["w2"]) + of["b2"]
    expected = np.maximum(middle, 0) @ of["w3"] + of["b3"]
    np.testing.assert_allclose(run(switched, data, on), expected, atol=1e-5)


def test_nodes_that_a_higher_opset_writes_otherwise(data):
    weight = np.random.default_rng(0).normal(0, 1, (16, 16, 1, 1)).astype(np.float32)
    nodes = [
        toys.node("Conv", "x w", "c"),
        toys.node("Upsample", "c by", "u", mode="nearest"),
        toys.node("Conv", "u w", "y"),
    ]
    constants = {"w": weight, "by": np.array([1, 1, 2, 2], np.float32)}
    model = toys.model(nodes, {"x": [1, 16, 2, 2]}, {"y": [1, 16, 4, 4]}, constants, opset=9, ir_version=4)
    x = np.random.default_rng(1).normal(0, 1, (1, 16, 2, 2)).astype(np.float32)
    switched = build_switched_graph(fold_model(load(model)), {"x": 0.03, "c": 0.05, "u": 0.05}, QdqOptions())
    assert "u" in switched.switches
    off, on = (
        toys.run(export_model(switched.graph, switched.model), {"x": x, **switched.feeds(nodes)}, ["y"])[0]
        for nodes in ((), switched.switches)
    )
    assert np.array_equal(off, toys.run(model, {"x": x})[0])
    assert not np.array_equal(on, off)


@pytest.mark.parametrize("float_reader", [False, True])
def test_weights_that_the_model_computes(float_reader):
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(0, 1, (16, 16)).astype(np.float32), "half": np.float32(0.5)}
    nodes = [
        toys.node("Transpose", "w", "t", perm=[1, 0]),
        toys.node("Mul", "t half", "tw"),
        toys.node("MatMul", "x tw", "p"),
        toys.node("Add", f"p {'tw' if float_reader else 'p'}", "y"),
    ]
    model = toys.model(nodes, {"x": [16, 16]}, {"y": [16, 16]}, constants)
    x = rng.normal(0, 1, (16, 16)).astype(np.float32)
    switched = build_switched_graph(fold_model(load(model)), {"x": 0.03, "p": 0.1, "y": 0.1}, QdqOptions())
    assert set(switched.switches) == {"p"}
    off, on = (
        toys.run(export_model(switched.graph, switched.model), {"x": x, **switched.feeds(nodes)}, ["y"])[0]
        for nodes in ((), switched.switches)
    )
    np.testing.assert_allclose(off, toys.run(model, {"x": x})[0], rtol=1e-6)
    assert not np.array_equal(on, off)
