"""The way back: scales to the bit, weights exact, names as they were."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.qdq_toys import conv, float_arithmetic, pool_branch, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.read.dequantize_model import dequantize_model
from onnx_trtcal.qdq.read.precisions import layer_precisions
from onnx_trtcal.qdq.scale_record import RECORD_KEY
from onnx_trtcal.qdq.write.quantize_model import quantize_model

X = {"x": ["N", 16, 6, 6]}
TENSORS = ("x", "a", "b", "c", "p", "y")
Z = {"z": np.array(0, np.int8)}


def network() -> onnx.ModelProto:
    """conv relu, concat with the input, pool, conv: shared scales, moved tensors, a graph output."""
    nodes = [
        conv("x", "a", "w"),
        toys.node("Relu", "a", "b"),
        toys.node("Concat", "x b", "c", axis=1),
        toys.node("MaxPool", "c", "p", kernel_shape=[2, 2]),
        conv("p", "y", "w2"),
    ]
    return toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3), "w2": weights(16, 32, 3, 3)})


def values_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(2.0**-120, 2.0**120, width=32), min_size=6, max_size=6),
    st.sampled_from(["int8", "float"]),
)
def test_cache_to_qdq_and_back_to_the_bit(values: list[float], stored: str) -> None:
    scales = dict(zip(TENSORS, values, strict=True))
    made = quantize_model(load(network()), scales, QdqOptions(weights=stored)).proto()
    back = dequantize_model(load(made))
    assert list(back.scales.items()) == list(scales.items())
    assert back.missing == () and back.covered == {} and back.notes == ()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_quantizing_added_to_the_graph_is_in_no_cache(precision: str) -> None:
    # Below opset 13 Softmax works on a matrix, which becomes Flatten, Softmax and Reshape.
    nodes = [conv("x", "a", "w"), toys.node("Softmax", "a", "y", axis=1)]
    model = toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3)}, opset=11)
    scales = {"x": 0.5, "a": 0.25, "y": 0.125}
    back = dequantize_model(
        load(quantize_model(load(model), scales, QdqOptions(high_precision=precision)).proto())
    )
    assert list(back.scales.items()) == list(scales.items())
    assert back.missing and not set(back.missing) & set(scales)


def test_without_the_record_every_pair_gives_its_scale_and_carries_it_on() -> None:
    scales = dict(zip(TENSORS, np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).tolist(), strict=True))
    made = quantize_model(load(network()), scales).proto()
    del made.metadata_props[:]
    back = dequantize_model(load(made))
    # x shares the scale of the Concat that MaxPool passes on; b and c lie before it; a vanishes in b's kernel.
    assert back.scales == dict.fromkeys(("x", "a", "b", "c", "p"), scales["p"])
    assert back.missing == ("y",)


def test_a_changed_pair_outweighs_the_record() -> None:
    scales = dict.fromkeys(TENSORS, 0.5)
    made = quantize_model(load(network()), scales).proto()
    tensor = next(t for t in made.graph.initializer if t.name == "x_scale")
    tensor.CopyFrom(numpy_helper.from_array(np.array(0.25, np.float32), "x_scale"))
    back = dequantize_model(load(made))
    assert back.scales["x"] == 0.25 and "y" in back.missing
    assert any("no longer those" in note for note in back.notes)


def test_damaged_record_is_refused() -> None:
    made = quantize_model(load(network()), dict.fromkeys(TENSORS, 0.5)).proto()
    next(entry for entry in made.metadata_props if entry.key == RECORD_KEY).value = '{"scales": {"x": "zz"}}'
    with pytest.raises(ModelError, match="damaged"):
        dequantize_model(load(made))


def test_float_model_has_grid_weights_and_the_original_names() -> None:
    made = quantize_model(load(network()), dict.fromkeys(TENSORS, 0.5)).proto()
    back = dequantize_model(load(made)).proto()
    assert [n.op_type for n in back.graph.node] == ["Conv", "Relu", "Concat", "MaxPool", "Conv"]
    assert not [entry for entry in back.metadata_props if entry.key == RECORD_KEY]
    found, stored = values_of(back), values_of(made)
    assert set(found) == {"w", "w2"}
    grid = stored["w_quantized"].astype(np.float32) * stored["w_scale"].reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(found["w"], grid)
    again = values_of(quantize_model(load(back), dict.fromkeys(TENSORS, 0.5)).proto())
    np.testing.assert_array_equal(again["w_quantized"], stored["w_quantized"])


def test_float_weights_come_back_as_they_were() -> None:
    made = quantize_model(load(network()), dict.fromkeys(TENSORS, 0.5), QdqOptions(weights="float")).proto()
    np.testing.assert_array_equal(values_of(dequantize_model(load(made)).proto())["w"], weights(16, 16, 3, 3))


def pair(tensor: str, out: str, zero: str = "z") -> list[onnx.NodeProto]:
    return [
        toys.node("QuantizeLinear", f"{tensor} s {zero}", f"{tensor}_q"),
        toys.node("DequantizeLinear", f"{tensor}_q s {zero}", out),
    ]


def asymmetric(dtype: type, zero: int, producer: str = "Neg") -> onnx.ModelProto:
    nodes = [toys.node(producer, "x", "t"), *pair("t", "d"), conv("d", "y", "w")]
    constants = {"s": np.array(0.02, np.float32), "z": np.array(zero, dtype), "w": weights(16, 16, 3, 3)}
    return toys.model(nodes, X, ["y"], constants)


@pytest.mark.parametrize(
    ("dtype", "zero", "steps"), [(np.uint8, 100, 155), (np.uint8, 200, 200), (np.int8, 10, 138)]
)
def test_asymmetric_grid_is_covered_and_said(dtype: type, zero: int, steps: int) -> None:
    back = dequantize_model(load(asymmetric(dtype, zero)))
    assert back.scales["t"] == pytest.approx(0.02 * steps / 127, rel=1e-6)
    assert f"zero-point {zero}" in back.covered["t"]
    with pytest.raises(ModelError, match="symmetric INT8"):
        dequantize_model(load(asymmetric(dtype, zero)), symmetric_only=True)


def test_uint8_around_128_is_symmetric_already() -> None:
    back = dequantize_model(load(asymmetric(np.uint8, 128)), symmetric_only=True)
    assert back.scales["t"] == np.float32(0.02) and back.covered == {}


@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 0), (np.int8, -128)])
def test_an_absorbed_relu_comes_back(dtype: type, zero: int) -> None:
    model = asymmetric(dtype, zero)
    back = dequantize_model(load(model))
    assert [n.op_type for n in back.proto().graph.node] == ["Neg", "Relu", "Conv"]
    values = np.random.default_rng(0).normal(0, 1, (1, 16, 6, 6)).astype(np.float32)
    wanted = float_arithmetic(model, {"x": values}, ["y"])[0]
    np.testing.assert_allclose(float_arithmetic(back.proto(), {"x": values}, ["y"])[0], wanted, atol=0.2)


def test_a_range_that_ends_at_6_is_relu6_and_relu_itself_is_not_doubled() -> None:
    model = asymmetric(np.uint8, 0)
    scale = next(t for t in model.graph.initializer if t.name == "s")
    scale.CopyFrom(numpy_helper.from_array(np.array(6 / 255, np.float32), "s"))
    assert [n.op_type for n in dequantize_model(load(model)).proto().graph.node] == ["Neg", "Clip", "Conv"]
    safe = dequantize_model(load(asymmetric(np.uint8, 0, producer="Relu"))).proto()
    assert [n.op_type for n in safe.graph.node] == ["Relu", "Conv"]


def test_a_quantized_graph_output_keeps_its_name() -> None:
    nodes = [conv("x", "y_raw", "w"), *pair("y_raw", "y")]
    constants = {"s": np.array(0.02, np.float32), **Z, "w": weights(16, 16, 3, 3)}
    back = dequantize_model(load(toys.model(nodes, X, ["y"], constants)))
    assert [n.output[0] for n in back.proto().graph.node] == ["y"]
    assert back.scales == {"y": np.float32(0.02)}


def test_integers_that_are_only_moved_are_followed() -> None:
    nodes = [
        toys.node("QuantizeLinear", "x s z", "q"),
        toys.node("Transpose", "q", "qt", perm=[0, 1, 3, 2]),
        toys.node("DequantizeLinear", "qt s z", "d"),
        conv("d", "y", "w"),
    ]
    model = toys.model(nodes, X, ["y"], {"s": np.array(0.02, np.float32), **Z, "w": weights(16, 16, 3, 3)})
    back = dequantize_model(load(model))
    assert back.scales == {"x": np.float32(0.02), "qt": np.float32(0.02)}
    values = np.random.default_rng(0).integers(-9, 9, (1, 16, 6, 6)).astype(np.float32) * np.float32(0.02)
    np.testing.assert_allclose(
        *(float_arithmetic(each, {"x": values}, ["y"])[0] for each in (back.proto(), model)), atol=1e-5
    )


def test_integer_arithmetic_is_refused() -> None:
    nodes = [
        toys.node("QuantizeLinear", "x s z", "q"),
        toys.node("MatMulInteger", "q wq", "i"),
        toys.node("DequantizeLinear", "i s", "y"),
    ]
    constants = {"s": np.array(0.02, np.float32), **Z, "wq": np.ones((4, 3), np.int8)}
    with pytest.raises(ModelError, match="integers are computed with"):
        dequantize_model(load(toys.model(nodes, {"x": [2, 4]}, ["y"], constants)))


def test_a_float_model_is_refused() -> None:
    with pytest.raises(ModelError, match="no Q/DQ pair"):
        dequantize_model(load(network()))


def test_layer_precisions_name_what_ran_in_int8() -> None:
    made = quantize_model(
        load(network()), dict.fromkeys(TENSORS, 0.5), QdqOptions(exclude=("node_y",))
    ).proto()
    back = dequantize_model(load(made))
    assert layer_precisions(back.precisions) == "node_a:int8,node_y:fp16"
    assert layer_precisions({"a,b": "int8", "a:0": "int8", "c": "fp16"}) == "c:fp16"


def test_a_layer_behind_a_pool_that_reads_a_pair_runs_in_int8() -> None:
    back = dequantize_model(
        load(quantize_model(load(pool_branch()), {"x": 0.1, "ar": 0.1, "mp": 0.1}).proto())
    )
    assert back.precisions == dict.fromkeys(("node_a", "pool", "node_b1", "node_b2"), "int8")


W_PAIR = [toys.node("DequantizeLinear", "wq s z", "wd")]
FOLLOWING = {"t": [toys.node("Softmax", "t_dq", "y")], "t_dq": []}


@pytest.mark.parametrize(("dtype", "output"), [(np.uint8, "t"), (np.int8, "t_dq")])
def test_a_layer_whose_output_gets_another_name_keeps_its_precision(dtype: type, output: str) -> None:
    # An activation put back takes the layer's output name; so does a DQ that makes a graph output.
    nodes = [*pair("x", "d"), *W_PAIR, conv("d", "t", "wd"), *pair("t", "t_dq", "z2"), *FOLLOWING[output]]
    constants = {"s": np.array(0.02, np.float32), **Z, "z2": np.array(0, dtype)}
    constants["wq"] = np.ones((16, 16, 3, 3), np.int8)
    back = dequantize_model(load(toys.model(nodes, X, ["y" if output == "t" else "t_dq"], constants)))
    assert back.precisions["node_t"] == "int8"


def test_what_cannot_be_negative_needs_no_relu() -> None:
    nodes = [
        toys.node("Relu", "x", "r"),
        toys.node("Pad", "r pads", "padded"),
        toys.node("Add", "padded padded", "t"),
        *pair("t", "d"),
        conv("d", "y", "w"),
    ]
    constants = {"s": np.array(0.02, np.float32), "z": np.array(0, np.uint8), "w": weights(16, 16, 3, 3)}
    constants["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    back = dequantize_model(load(toys.model(nodes, X, ["y"], constants))).proto()
    assert [n.op_type for n in back.graph.node] == ["Relu", "Pad", "Add", "Conv"]
