"""Weights of simulated INT8 in float: the bits that ONNX Runtime makes of them, and what is left to it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.run.float_weights import float_weights

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.integers(-127, 128, (4, 3)).astype(np.int8)
SCALES = RANDOM.uniform(1e-3, 1, 3).astype(np.float32)


def network(
    weight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None = None,
    outputs: str = "y",
    **attributes: object,
) -> onnx.ModelProto:
    """A dequantized weight that is added to the input."""
    constants = {"w": weight, "s": scale} | ({} if zero is None else {"z": zero})
    nodes = [
        toys.node("DequantizeLinear", list(constants), "d", **attributes),
        toys.node("Add", "x d", "y"),
    ]
    return toys.model(nodes, {"x": [1]}, dict.fromkeys(outputs.split()), constants)


def run(model: bytes) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": np.zeros(1, np.float32)}))


def ops(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(model).graph.node]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_bits_are_those_of_the_node(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from([np.int8, np.uint8])))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    of = data.draw(st.sampled_from([(), (1,), (shape[axis],)]))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    limits = np.iinfo(dtype)
    weight = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    scale = np.exp2(random.uniform(-140, 120, of)).astype(np.float32)
    zero = random.integers(limits.min, limits.max, of, dtype, endpoint=True)
    model = network(weight, scale, data.draw(st.sampled_from([None, zero])), axis=axis).SerializeToString()
    if dtype == np.uint8 and len(onnx.ModelProto.FromString(model).graph.initializer) == 2:
        return  # without a zero point, checkers differ on what the type is
    made = float_weights(model)
    assert ops(made) == ["Add"]
    assert run(made)[0].tobytes() == run(model)[0].tobytes()


def test_integers_that_nobody_reads_any_more_go() -> None:
    graph = onnx.ModelProto.FromString(float_weights(network(WEIGHT, SCALES).SerializeToString())).graph
    assert [tensor.name for tensor in graph.initializer] == ["d"]


def test_integers_that_are_read_elsewhere_stay() -> None:
    model = network(WEIGHT, SCALES, outputs="y c")
    model.graph.node.append(toys.node("Cast", "w", "c", to=onnx.TensorProto.FLOAT))
    whole = model.SerializeToString()
    made = float_weights(whole)
    assert ops(made) == ["Add", "Cast"]
    assert [each.tobytes() for each in run(made)] == [each.tobytes() for each in run(whole)]


def test_a_node_without_outputs_stays() -> None:
    model = network(WEIGHT, SCALES)
    model.graph.node.append(onnx.NodeProto(op_type="Print", domain="custom", input=["x"]))
    assert ops(float_weights(model.SerializeToString())) == ["Add", "Print"]


@pytest.mark.parametrize(
    "model",
    [
        network(np.zeros((128, 128), np.int8), SCALES[:1]),
        network(WEIGHT, SCALES.astype(np.float16)),
        network(WEIGHT.astype(np.int32), SCALES),
        network(WEIGHT, SCALES, outputs="y d"),
        network(WEIGHT, SCALES[:2]),
        network(WEIGHT, SCALES, axis=2),
        network(WEIGHT, SCALES, domain="com.microsoft"),
        network(WEIGHT, np.ones((2, 3), np.float32), block_size=2),
        toys.model([toys.node("DequantizeLinear", "q s", "y")], {"q": [3]}, ["y"], {"s": SCALES[:1]}),
    ],
    ids=["large", "float16", "int32", "given out", "scales", "axis", "domain", "blocks", "activation"],
)
def test_anything_else_is_left_to_onnx_runtime(model: onnx.ModelProto) -> None:
    whole = model.SerializeToString()
    assert float_weights(whole) == whole
