"""The switched model: all off is the float model, all on the Q/DQ model, and every kernel by itself in between."""

from __future__ import annotations

import numpy as np
import pytest
import toys
from fakes import fake_quantize, fake_quantize_columns, forward, perceptron, samples, scales, weights

from onnx_trtcal.evaluation.switches import reads_of, switchboard
from onnx_trtcal.graph.load import load
from onnx_trtcal.graph.surgeon import export_model
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.quantize import quantize_model


@pytest.fixture(scope="module")
def data():
    return samples(6)


@pytest.fixture(scope="module", params=["int8", "float"])
def board(request, data):
    return switchboard(load(perceptron()), scales(data), QdqOptions(weights=request.param))


def run(board, data, on):
    return toys.run(export_model(board.graph, board.model), {"x": data, **board.feeds(on)}, ["y"])[0]


def test_all_off_is_the_float_model_to_the_bit(board, data):
    assert np.array_equal(run(board, data, ()), toys.run(perceptron(), {"x": data})[0])


def test_all_on_is_the_quantized_model_to_the_bit(board, data):
    made = quantize_model(load(perceptron()), scales(data))
    assert reads_of(made.placement) == set(board.switches)
    assert np.array_equal(run(board, data, board.switches), toys.run(made.proto(), {"x": data})[0])


def test_one_kernel_alone(board, data):
    of, values = weights(), forward(data)
    on = [read for read in board.switches if read.node == "g2"]
    assert len(on) == 2
    middle = fake_quantize(values["r1"], scales(data)["r1"]) @ fake_quantize_columns(of["w2"]) + of["b2"]
    expected = np.maximum(middle, 0) @ of["w3"] + of["b3"]
    np.testing.assert_allclose(run(board, data, on), expected, atol=1e-5)


def test_the_weight_alone(board, data):
    of, values = weights(), forward(data)
    on = [read for read in board.switches if read.node == "y" and read.index == 1]
    expected = values["r2"] @ fake_quantize_columns(of["w3"]) + of["b3"]
    np.testing.assert_allclose(run(board, data, on), expected, atol=1e-5)
