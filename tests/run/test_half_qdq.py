from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.run.half_qdq import half_qdq_in_float32

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def pair(axis: int | None = None, domain: str = "") -> list[onnx.NodeProto]:
    attrs = {} if axis is None else {"axis": axis}
    return [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], domain=domain, **attrs),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], domain=domain, **attrs),
    ]


def model(nodes: list[onnx.NodeProto], scale: np.ndarray, elem_type: int = HALF) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("x", elem_type, [None, 3])],
        [helper.make_tensor_value_info("y", elem_type, [None, 3])],
        [
            numpy_helper.from_array(scale, "scale"),
            numpy_helper.from_array(np.zeros(scale.shape, np.int8), "zero"),
        ],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run(model_bytes: bytes, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.disable_double_qdq_remover", "1")
    session = ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def by_definition(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    wide = scale.astype(np.float32)
    codes = np.clip(np.rint(x.astype(np.float32) / wide), -128, 127)
    return (codes * wide).astype(np.float16)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-60, 60, width=16), min_size=6, max_size=6),
    st.floats(0.0009765625, 0.5, width=16),
    st.sampled_from(["", "com.microsoft"]),
)
def test_rounds_as_float32_division_does(values: list[float], scale: float, domain: str) -> None:
    x = np.array(values, np.float16).reshape(2, 3)
    half = np.array(scale, np.float16)
    made = half_qdq_in_float32(model(pair(domain=domain), half).SerializeToString())
    np.testing.assert_array_equal(run(made, x), by_definition(x, half))


def test_scales_along_an_axis_stay_along_it() -> None:
    scale = np.array([0.1, 0.3, 0.013], np.float16)
    x = np.linspace(-9, 9, 12, dtype=np.float16).reshape(4, 3)
    made = half_qdq_in_float32(model(pair(axis=1), scale).SerializeToString())
    np.testing.assert_array_equal(run(made, x), by_definition(x, scale))


def test_a_float32_model_keeps_its_bytes() -> None:
    scale = np.array(0.25, np.float32)
    given_bytes = model(pair(), scale, FLOAT).SerializeToString()
    assert half_qdq_in_float32(given_bytes) is given_bytes


@pytest.mark.parametrize("taken", ["scale_float32", "x_float32", "y_float32"])
def test_new_names_do_not_meet_those_of_the_model(taken: str) -> None:
    scale = np.array(0.1, np.float16)
    nodes = [*pair(), helper.make_node("Identity", ["x"], [taken])]
    x = np.ones((1, 3), np.float16)
    made = half_qdq_in_float32(model(nodes, scale).SerializeToString())
    np.testing.assert_array_equal(run(made, x), by_definition(x, scale))


def test_a_pair_within_a_subgraph_reads_the_scale_from_outside() -> None:
    scale = np.array(0.1, np.float16)
    inner = helper.make_graph(
        [*pair()[:1], helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", HALF, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["outer"])],
        "else",
        [],
        [helper.make_tensor_value_info("outer", HALF, None)],
    )
    nodes = [
        helper.make_node("Constant", [], ["on"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["on"], ["y"], then_branch=inner, else_branch=other),
    ]
    made = half_qdq_in_float32(model(nodes, scale).SerializeToString())
    x = np.linspace(-5, 5, 6, dtype=np.float16).reshape(2, 3)
    np.testing.assert_array_equal(run(made, x), by_definition(x, scale))
    branch = next(node for node in onnx.load_from_string(made).graph.node if node.op_type == "If")
    inside = next(each.g for each in branch.attribute if each.name == "then_branch")
    assert [node.op_type for node in inside.node].count("Cast") == 4
