"""What a Q/DQ model computes, against a slow fake-quantization in NumPy, and what it looks like."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.qdq_toys import conv, fake_quant, fake_quant_channels, float_arithmetic, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.lint.lint import lint_model
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model

X = {"x": ["N", 16, 6, 6]}


def data(*shape: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def quantized(model: onnx.ModelProto, scales: dict[str, float], **options: object) -> onnx.ModelProto:
    made = quantize_model(load(model), scales, QdqOptions(**options)).proto()
    assert lint_model(made) == ()
    return made


def initializer(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def float_reference(model: onnx.ModelProto, name: str, values: np.ndarray) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(t for t in copy.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return copy


CASES = {
    "conv": (toys.node("Conv", "x w", "y", pads=[1] * 4), (16, 16, 3, 3), (2, 16, 6, 6), 0),
    "grouped": (toys.node("Conv", "x w", "y", group=4), (16, 4, 3, 3), (2, 16, 6, 6), 0),
    "transposed": (toys.node("ConvTranspose", "x w", "y"), (16, 20, 3, 3), (2, 16, 6, 6), 1),
    "transposed-grouped": (toys.node("ConvTranspose", "x w", "y", group=2), (16, 12, 3, 3), (2, 16, 6, 6), 1),
    "gemm": (toys.node("Gemm", "x w", "y"), (16, 24), (5, 16), 1),
    "gemm-transposed": (toys.node("Gemm", "x w", "y", transB=1), (24, 16), (5, 16), 0),
    "matmul": (toys.node("MatMul", "x w", "y"), (16, 24), (3, 5, 16), 1),
    "matmul-batched": (toys.node("MatMul", "x w", "y"), (3, 16, 24), (3, 5, 16), 2),
    "matmul-left": (toys.node("MatMul", "w x", "y"), (24, 16), (16, 5), 0),
    "gemm-left": (toys.node("Gemm", "w x", "y", transA=1), (16, 24), (16, 5), 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stored", ["int8", "float"])
def test_agrees_with_fake_quantization(case: str, stored: str) -> None:
    node, shape, data_shape, axis = CASES[case]
    values, scale = data(*data_shape), float(np.float32(0.021))
    model = toys.model([node], {"x": list(data_shape)}, ["y"], {"w": weights(*shape)})
    made = quantized(model, {"x": scale}, weights=stored, target="tensorrt10")
    reference = float_reference(model, "w", fake_quant_channels(weights(*shape), axis))
    (wanted,) = toys.run(reference, {"x": fake_quant(values, np.float32(scale))})
    (got,) = float_arithmetic(made, {"x": values}, ["y"])
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "counts"),
    [
        ({}, 1),
        ({"pads": [0] * 4}, 1),
        ({"pads": [1] * 4}, None),
        ({"auto_pad": "SAME_UPPER"}, None),
        ({"ceil_mode": 1}, None),
    ],
)
def test_an_average_pool_without_padding_counts_it(attributes: dict[str, object], counts: int | None) -> None:
    pool = toys.node("AveragePool", "a", "p", kernel_shape=[2, 2], name="pool", **attributes)
    model = toys.model(
        [conv("x", "a", "w"), pool, conv("p", "y", "w")], X, ["y"], {"w": weights(16, 16, 3, 3)}
    )
    made = quantized(model, {"x": 0.02, "a": 0.02, "p": 0.02})
    (node,) = [each for each in made.graph.node if each.name == "pool"]
    assert {a.name: a.i for a in node.attribute}.get("count_include_pad") == counts


def test_int8_and_float_storage_compute_the_same_bits() -> None:
    node, shape, data_shape, _ = CASES["conv"]
    model = toys.model([node], X, ["y"], {"w": weights(*shape)})
    results = [
        float_arithmetic(quantized(model, {"x": 0.02}, weights=stored), {"x": data(*data_shape)}, ["y"])[0]
        for stored in ("int8", "float")
    ]
    np.testing.assert_array_equal(*results)


@settings(max_examples=15, deadline=None)
@given(st.floats(2.0**-90, 2.0**90, width=32), st.integers(0, 1000))
def test_scales_and_weights_are_on_their_grid(scale: float, seed: int) -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": weights(16, 16, 3, 3, seed=seed)})
    made = quantize_model(load(model), {"x": scale}).proto()
    assert initializer(made, "x_scale").dtype == np.float32
    assert initializer(made, "x_scale") == np.float32(scale)
    stored, scales = initializer(made, "w_quantized"), initializer(made, "w_scale")
    assert stored.dtype == np.int8 and stored.min() >= -127
    assert not initializer(made, "w_zero_point").any() and initializer(made, "w_zero_point").shape == (16,)
    error = np.abs(stored * scales.reshape(-1, 1, 1, 1) - weights(16, 16, 3, 3, seed=seed))
    assert (error <= scales.reshape(-1, 1, 1, 1) * 0.501).all()
    assert (np.abs(stored).max(axis=(1, 2, 3)) == 127).all()


def test_names_and_order_are_readable() -> None:
    nodes = [conv("x", "a", "w"), toys.node("Relu", "a", "b"), conv("b", "y", "w")]
    made = quantized(toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3)}), {"x": 0.1, "b": 0.2})
    assert [(n.op_type, n.name, n.output[0]) for n in made.graph.node] == [
        ("QuantizeLinear", "x_QuantizeLinear", "x_QuantizeLinear_Output"),
        ("DequantizeLinear", "x_DequantizeLinear", "x_DequantizeLinear_Output"),
        ("DequantizeLinear", "w_DequantizeLinear", "w_DequantizeLinear_Output"),
        ("Conv", "node_a", "a"),
        ("Relu", "", "b"),
        ("QuantizeLinear", "b_QuantizeLinear", "b_QuantizeLinear_Output"),
        ("DequantizeLinear", "b_DequantizeLinear", "b_DequantizeLinear_Output"),
        ("Conv", "node_y", "y"),
    ]


def test_taken_names_are_not_used_twice() -> None:
    nodes = [toys.node("Relu", "x", "x_scale"), conv("x_scale", "y", "w"), conv("x", "z", "w")]
    made = quantized(
        toys.model(nodes, X, ["y", "z"], {"w": weights(16, 16, 3, 3)}), {"x": 0.1, "x_scale": 0.1}
    )
    names = [t.name for t in made.graph.initializer] + [name for n in made.graph.node for name in n.output]
    assert len(names) == len(set(names)) and "x_scale_1" in names


def test_same_bytes_every_time() -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": weights(16, 16, 3, 3)})
    first, second = (quantized(model, {"x": 0.1}).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_graph_output_that_is_quantized_for_others_stays_float() -> None:
    nodes = [toys.node("Relu", "x", "a"), conv("a", "y", "w")]
    made = quantized(toys.model(nodes, X, ["a", "y"], {"w": weights(16, 16, 3, 3)}), {"a": 0.5})
    values = data(1, 16, 6, 6)
    np.testing.assert_array_equal(float_arithmetic(made, {"x": values}, ["a"])[0], np.maximum(values, 0))


def test_dead_channels_and_zero_scales_get_positive_scales() -> None:
    weight = weights(16, 16, 3, 3)
    weight[3] = 0
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": weight})
    made = quantize_model(load(model), {"x": 0.0})
    assert made.inserted.dead == {"w": 1}
    assert (initializer(made.proto(), "w_scale") > 0).all() and initializer(made.proto(), "x_scale") > 0


def test_reshaped_weight_is_quantized_as_it_is_read() -> None:
    nodes = [toys.node("Reshape", "w shape", "w2"), toys.node("MatMul", "x w2", "y")]
    constants = {"w": weights(4, 4, 24), "shape": np.array([0, -1, 24])[1:]}
    made = quantized(toys.model(nodes, {"x": ["N", 16]}, ["y"], constants), {"x": 0.02})
    assert initializer(made, "w2_quantized").shape == (16, 24)
    values = data(4, 16)
    wanted = fake_quant(values, np.float32(0.02)) @ fake_quant_channels(weights(4, 4, 24).reshape(16, 24), 1)
    np.testing.assert_allclose(float_arithmetic(made, {"x": values}, ["y"])[0], wanted, rtol=1e-5, atol=1e-5)


def test_float16_model_gets_float16_scales_and_opset_19() -> None:
    model = toys.model(
        [conv("x", "y", "w")],
        X,
        ["y"],
        {"w": weights(16, 16, 3, 3).astype(np.float16)},
        dtypes={"x": onnx.TensorProto.FLOAT16, "y": onnx.TensorProto.FLOAT16},
    )
    made = quantized(model, {"x": 0.02})
    assert made.opset_import[0].version == 19
    assert initializer(made, "x_scale").dtype == initializer(made, "w_scale").dtype == np.float16


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_bad_scale_is_refused(scale: float) -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": weights(16, 16, 3, 3)})
    with pytest.raises(OptionError, match="'x'"):
        quantize_model(load(model), {"x": scale})


def test_nothing_to_quantize_is_an_error_that_says_why() -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": weights(16, 16, 3, 3)})
    with pytest.raises(ModelError, match="no scale for its input 'x'"):
        quantize_model(load(model), {})


def test_computed_weights_are_stored_as_computed_and_their_nodes_go() -> None:
    nodes = [
        toys.node("Cast", "half", "wide", to=onnx.TensorProto.FLOAT),
        toys.node("Mul", "wide gain", "w"),
        toys.node("Identity", "half", "kept"),
        conv("x", "a", "w"),
        toys.node("Relu", "a", "y"),
    ]
    half = weights(16, 16, 3, 3).astype(np.float16)
    constants = {"half": half, "gain": np.float32(0.5)}
    model = toys.model(nodes, {"x": ["N", 16, 6, 6]}, ["y", "kept"], constants, dtypes={"kept": 10})
    quantized = quantize_model(load(model), {"x": 0.1, "a": 0.1, "y": 0.1}).proto()
    assert [node.op_type for node in quantized.graph.node if node.op_type in ("Cast", "Mul", "Identity")] == [
        "Identity"
    ]
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.graph.initializer}
    computed = half.astype(np.float32) * np.float32(0.5)
    scale = stored["w_scale"].reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(stored["w_quantized"], np.clip(np.rint(computed / scale), -127, 127))
    assert "gain" not in stored and "half" in stored
