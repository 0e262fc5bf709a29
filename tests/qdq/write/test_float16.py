"""float16 around INT8: float32 at the borders and wherever float16 cannot be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.qdq_toys import conv, float_arithmetic, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.lint.lint import lint_model
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.read.dequantize_model import dequantize_model
from onnx_trtcal.qdq.write.quantize_model import quantize_model

X = {"x": ["N", 16, 6, 6]}
W = {"w": weights(16, 16, 3, 3)}
FP16 = QdqOptions(high_precision="fp16")


def halved(model: onnx.ModelProto, scales: dict[str, float]) -> onnx.ModelProto:
    made = quantize_model(load(model), scales, FP16).proto()
    assert lint_model(made) == ()
    return made


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types as ONNX infers them over the whole model."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    known = {
        v.name: v.type.tensor_type.elem_type
        for v in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    return known | {t.name: t.data_type for t in inferred.initializer}


def agrees(
    model: onnx.ModelProto, made: onnx.ModelProto, scales: dict[str, float], **feeds: np.ndarray
) -> None:
    values = {"x": np.random.default_rng(0).normal(0, 1, (2, 16, 6, 6)).astype(np.float32), **feeds}
    single = quantize_model(load(model), scales).proto()
    for got, wanted in zip(
        float_arithmetic(made, values, ["y"]), float_arithmetic(single, values, ["y"]), strict=True
    ):
        assert got.dtype == np.float32
        # A value that float16 rounds over the edge of an INT8 step moves by that step, so no single one is bound.
        assert np.linalg.norm(got - wanted) < 0.01 * np.linalg.norm(wanted)


def test_a_cast_that_changes_nothing_is_no_border() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("Cast", "a", "b", to=1),
        toys.node("Relu", "b", "c"),
        conv("c", "y", "w"),
    ]
    model = toys.model(nodes, X, ["y"], W)
    made = halved(model, {"x": 0.02, "c": 0.1})
    assert types(made)["b"] == onnx.TensorProto.FLOAT16
    assert not any("b" in (*node.input, *node.output) for node in made.graph.node if node.op_type == "Cast")
    agrees(model, made, {"x": 0.02, "c": 0.1})


def test_everything_inside_is_float16_and_the_borders_are_not() -> None:
    nodes = [
        toys.node("Conv", "x w bias", "a", pads=[1] * 4),
        toys.node("Relu", "a", "b"),
        conv("b", "c", "w"),
        toys.node("Mul", "c factor", "y"),
    ]
    constants = {**W, "bias": weights(16), "factor": np.float32(0.5)}
    model = toys.model(nodes, X, ["y"], constants)
    scales = {"x": 0.03, "b": 0.05}
    made = halved(model, scales)
    found = types(made)
    assert found["x"] == found["y"] == onnx.TensorProto.FLOAT
    assert [name for name, kind in found.items() if kind == onnx.TensorProto.FLOAT] == ["x", "y"]
    agrees(model, made, scales)


def test_a_tensor_beyond_float16_keeps_its_neighbours_in_float32() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("Mul", "a big", "b"),
        toys.node("Mul", "b small", "c"),
        conv("c", "y", "w"),
    ]
    constants = {**W, "big": np.float32(1e6), "small": np.float32(1e-6)}
    model = toys.model(nodes, X, ["y"], constants)
    scales = {"x": 0.03, "c": 0.05, "b": 1e4}
    made = halved(model, scales)
    found = types(made)
    assert found["b"] == onnx.TensorProto.FLOAT and found["big"] == onnx.TensorProto.FLOAT
    assert found["a"] == onnx.TensorProto.FLOAT16
    agrees(model, made, scales)


TINY, HUGE = 2.0**-17, 1e4


@pytest.mark.parametrize("scale", [TINY, HUGE])
@pytest.mark.parametrize("where", ["x", "b", "y"])
@pytest.mark.parametrize("stored", ["int8", "float"])
def test_a_quantized_layer_next_to_what_float16_cannot_hold_has_float32_around_it(
    scale: float, where: str, stored: str
) -> None:
    """It runs in INT8 all the same, the scales to the bit, and the other layers keep float16."""
    nodes = [
        conv("x", "a", "w"),
        toys.node("Mul", "a factor", "b"),
        conv("b", "c", "w"),
        conv("c", "y", "w"),
    ]
    # What enters with another size has its usual size again before the second layer.
    factor = np.float32(0.03 / scale if where == "x" else 1)
    model = toys.model(nodes, X, ["y"], {**W, "factor": factor})
    scales = {"x": 0.03, "a": 0.1, "b": 0.1, "c": 0.3, "y": 1.0, where: scale}
    if where != "y":
        scales["a"] = 4 * scale
    made = quantize_model(load(model), scales, QdqOptions(high_precision="fp16", weights=stored)).proto()
    assert lint_model(made) == ()
    found, read = types(made), {node.output[0]: node.input[0] for node in made.graph.node}
    layers = {name: found[read[name]] for name in read if name.removesuffix("_fp16") in ("a", "c", "y")}
    wide = {"x": ("a",), "b": ("a", "c"), "y": ("y",)}[where]
    for name, kind in layers.items():
        assert (kind == onnx.TensorProto.FLOAT) == (name.removesuffix("_fp16") in wide), (name, kind)
    single = quantize_model(load(model), scales).proto()
    values = np.random.default_rng(0).normal(0, 127 * scales["x"] / 4, (2, 16, 6, 6))
    back = dequantize_model(load(made))
    assert dict(back.scales) == {name: np.float32(each) for name, each in scales.items()}
    assert toys.run(back.proto(), {"x": values.astype(np.float32)})
    got, wanted = (
        float_arithmetic(each, {"x": values.astype(np.float32)}, ["y"])[0] for each in (made, single)
    )
    assert where == "b" or np.abs(wanted).max() > 1
    assert np.linalg.norm(got - wanted) <= 0.03 * np.linalg.norm(wanted)


@settings(max_examples=30, deadline=None)
@given(st.floats(2.0**-149, 2.0**100, width=32))
def test_no_scale_is_rounded_down(scale: float) -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": W["w"] * np.float32(1e-3)})
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in halved(model, {"x": scale}).graph.initializer}
    assert tensors["x_scale"] >= np.float32(scale)
    exact = np.maximum(np.abs(W["w"] * np.float32(1e-3)).max(axis=(1, 2, 3)), 1e-4) / np.float32(127)
    stored = tensors.get("w_scale", tensors.get("w_scale_fp32"))
    assert (stored.astype(np.float64) >= exact * (1 - 1e-6)).all()


def test_of_a_float16_tensor_the_smallest_scale_is_written_as_float16() -> None:
    half = {"x": onnx.TensorProto.FLOAT16, "y": onnx.TensorProto.FLOAT16}
    model = toys.model([conv("x", "y", "w")], X, ["y"], {"w": W["w"].astype(np.float16)}, dtypes=half)
    made = quantize_model(load(model), {"x": 2.0**-149}).proto()
    scale = next(onnx.numpy_helper.to_array(t) for t in made.graph.initializer if t.name == "x_scale")
    assert scale == np.float16(2.0**-24) and lint_model(made) == ()


def test_ops_and_inputs_that_onnx_defines_for_float32_only_stay() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("Resize", ["a", "", "factors"], "b", mode="nearest"),
        conv("b", "y", "w"),
    ]
    model = toys.model(nodes, X, ["y"], {**W, "factors": np.array([1, 1, 2, 2], np.float32)})
    scales = {"x": 0.03, "a": 0.05, "b": 0.05}
    made = halved(model, scales)
    assert types(made)["factors"] == onnx.TensorProto.FLOAT
    agrees(model, made, scales)


def test_what_a_subgraph_reads_stays_float32_under_its_name() -> None:
    bodies = [
        helper.make_graph(
            [toys.node(op, "a", name)],
            name,
            [],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
        )
        for name, op in (("yes", "Relu"), ("no", "Neg"))
    ]
    nodes = [conv("x", "a", "w"), toys.node("If", "flag", "y", then_branch=bodies[0], else_branch=bodies[1])]
    inputs = {**X, "flag": []}
    model = toys.model(nodes, inputs, ["y"], W, dtypes={"flag": onnx.TensorProto.BOOL})
    made = halved(model, {"x": 0.03})
    assert types(made)["a"] == onnx.TensorProto.FLOAT and types(made)["a_fp16"] == onnx.TensorProto.FLOAT16
    agrees(model, made, {"x": 0.03}, flag=np.array(False))


def test_the_weights_are_quantized_from_float32() -> None:
    model = toys.model([conv("x", "y", "w")], X, ["y"], W)
    made = {t.name: onnx.numpy_helper.to_array(t) for t in halved(model, {"x": 0.03}).graph.initializer}
    assert made["w_scale"].dtype == np.float16
    steps = W["w"] / made["w_scale"].astype(np.float32).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(made["w_quantized"], np.clip(np.rint(steps), -127, 127))


def test_sequences_hold_float32() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("Relu", "a", "b"),
        toys.node("SequenceConstruct", "b a", "s"),
        toys.node("SequenceAt", "s i", "e"),
        conv("e", "y", "w2"),
        toys.node("SplitToSequence", "b", "parts", axis=1),
        toys.node("Identity", "parts", "out"),
    ]
    model = toys.model(nodes, X, ["y"], {**W, "w2": weights(16, 16, 3, 3), "i": np.array(0)})
    model.graph.output.append(helper.make_tensor_sequence_value_info("out", 1, None))
    made = halved(model, {"x": 0.03, "e": 0.05})
    held = onnx.shape_inference.infer_shapes(made, strict_mode=True).graph
    kinds = {value.name: value.type for value in (*held.value_info, *held.output)}
    assert {kinds[name].sequence_type.elem_type.tensor_type.elem_type for name in ("s", "parts", "out")} == {
        1
    }
    agrees(model, made, {"x": 0.03, "e": 0.05})


def test_a_plugin_of_onnxs_own_domain_stays_float32() -> None:
    nodes = [conv("x", "a", "w"), toys.node("Grid_TRT", "a", "g"), conv("g", "y", "w2")]
    model = toys.model(nodes, X, ["y"], {**W, "w2": weights(16, 16, 3, 3)})
    made = quantize_model(load(model), {"x": 0.03}, FP16).proto()
    (plugin,) = [each for each in made.graph.node if each.op_type == "Grid_TRT"]
    casts = {each.output[0]: each.attribute[0].i for each in made.graph.node if each.op_type == "Cast"}
    assert casts[plugin.input[0]] == onnx.TensorProto.FLOAT
