"""Every lint rule against a planted fault, and silence where nothing is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.qdq_toys import conv, pool_branch, weights
from onnx import numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.lint.lint import lint_model
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model

if TYPE_CHECKING:
    from collections.abc import Callable

X = {"x": ["N", 16, 6, 6]}


def good() -> onnx.ModelProto:
    """x -> conv relu conv, quantized."""
    nodes = [conv("x", "a", "w"), toys.node("Relu", "a", "b"), conv("b", "y", "w2")]
    constants = {"w": weights(16, 16, 3, 3), "w2": weights(16, 16, 3, 3)}
    return quantize_model(load(toys.model(nodes, X, ["y"], constants)), {"x": 0.1, "b": 0.1}).proto()


def set_values(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def uint8_zero_point(model: onnx.ModelProto) -> None:
    set_values(model, "x_zero_point", np.array(0, np.uint8))


def no_zero_point(model: onnx.ModelProto) -> None:
    del node_of(model, "x_QuantizeLinear").input[2]


def shifted_zero_point(model: onnx.ModelProto) -> None:
    set_values(model, "x_zero_point", np.array(3, np.int8))


def computed_zero_point(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, toys.node("Cast", "x", "computed", to=onnx.TensorProto.INT8))
    node_of(model, "x_QuantizeLinear").input[2] = "computed"


def computed_scale(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, toys.node("ReduceMax", "x", "computed", keepdims=0))
    node_of(model, "x_QuantizeLinear").input[1] = "computed"


def zero_scale(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.array(0, np.float32))


def nan_scale(model: onnx.ModelProto) -> None:
    set_values(model, "w_scale", np.full(16, np.nan, np.float32))


def wrong_sizes(model: onnx.ModelProto) -> None:
    set_values(model, "w_zero_point", np.zeros(3, np.int8))


def wrong_axis(model: onnx.ModelProto) -> None:
    node_of(model, "w_DequantizeLinear").attribute[0].i = 2


def no_such_axis(model: onnx.ModelProto) -> None:
    node_of(model, "w_DequantizeLinear").attribute[0].i = 7


def other_axis(model: onnx.ModelProto) -> None:
    node_of(model, "w_DequantizeLinear").attribute[0].i = 1


def no_axis(model: onnx.ModelProto) -> None:
    del node_of(model, "w_DequantizeLinear").attribute[0]


def no_scale(model: onnx.ModelProto) -> None:
    del node_of(model, "x_QuantizeLinear").input[1:]


def unnamed_scale(model: onnx.ModelProto) -> None:
    node_of(model, "x_DequantizeLinear").input[1] = ""


def float64_scale(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.array(0.1, np.float64))


def per_channel_activation(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.full(16, 0.1, np.float32))
    set_values(model, "x_zero_point", np.zeros(16, np.int8))


def integer_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(toys.node("DynamicQuantizeLinear", "y", "q s z", name="dynamic"))


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 12


def float16_scale(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.array(0.1, np.float16))


def other_output_type(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 21
    attribute = onnx.helper.make_attribute("output_dtype", onnx.TensorProto.UINT8)
    node_of(model, "x_QuantizeLinear").attribute.append(attribute)


def unsigned_data(model: onnx.ModelProto) -> None:
    set_values(model, "w_quantized", np.full((16, 16, 3, 3), 7, np.uint8))


def single_scale_list(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.full(1, 0.1, np.float32))
    set_values(model, "x_zero_point", np.zeros(1, np.int8))


def square_scale(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.full((1, 1), 0.1, np.float32))
    set_values(model, "x_zero_point", np.zeros((1, 1), np.int8))


def infinite_scale(model: onnx.ModelProto) -> None:
    set_values(model, "x_scale", np.array(np.inf, np.float32))


def microsoft_pairs(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def scalar_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(3, np.int8), "offset_quantized"))
    inputs = "offset_quantized x_scale x_zero_point"
    model.graph.node.append(toys.node("DequantizeLinear", inputs, "offset", name="offset_DequantizeLinear"))
    model.graph.node.append(toys.node("Add", "y offset", "moved", name="moved"))
    model.graph.output[0].name = "moved"


def block(model: onnx.ModelProto, axis: int, size: int) -> None:
    model.opset_import[0].version, model.ir_version = 21, 10
    shape = [16, 16, 3, 3]
    shape[axis] //= size
    set_values(model, "w_scale", np.full(shape, 0.1, np.float32))
    set_values(model, "w_zero_point", np.zeros(shape, np.int8))
    node = node_of(model, "w_DequantizeLinear")
    node.attribute[0].i = axis
    node.attribute.append(onnx.helper.make_attribute("block_size", size))


def blocks_of_input_channels(model: onnx.ModelProto) -> None:
    block(model, 1, 8)


def blocks_of_rows(model: onnx.ModelProto) -> None:
    block(model, 2, 3)


def half_weights(model: onnx.ModelProto) -> None:
    set_values(model, "w_scale", np.full(16, 0.1, np.float16))


def half_skip(model: onnx.ModelProto) -> None:
    model.graph.node.append(toys.node("Cast", "y", "half", to=onnx.TensorProto.FLOAT16))
    model.graph.node.append(toys.node("Relu", "half", "skip"))
    model.graph.node.append(toys.node("Add", "x_DequantizeLinear_Output skip", "total", name="sum"))


def retype(model: onnx.ModelProto, name: str, elem_type: int, size: int = 1) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    dims = list(tensor.dims)
    tensor.CopyFrom(onnx.helper.make_tensor(name, elem_type, dims, [0] * size))


def four_bit_activation(model: onnx.ModelProto) -> None:
    model.opset_import[0].version, model.ir_version = 21, 10
    retype(model, "x_zero_point", onnx.TensorProto.INT4)


def eight_bit_floats(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 19
    retype(model, "x_zero_point", onnx.TensorProto.FLOAT8E4M3FN)


FAULTS: dict[Callable[[onnx.ModelProto], None], tuple[str, str, str]] = {
    uint8_zero_point: ("limited", "zero-point-type", "x_QuantizeLinear"),
    no_zero_point: ("limited", "zero-point-type", "x_QuantizeLinear"),
    shifted_zero_point: ("error", "zero-point-value", "x_QuantizeLinear"),
    computed_zero_point: ("error", "zero-point-constant", "x_QuantizeLinear"),
    computed_scale: ("error", "scale-constant", "x_QuantizeLinear"),
    zero_scale: ("error", "scale-positive", "x_QuantizeLinear"),
    nan_scale: ("error", "scale-positive", "w_DequantizeLinear"),
    wrong_sizes: ("error", "sizes", "w_DequantizeLinear"),
    wrong_axis: ("error", "axis", "w_DequantizeLinear"),
    no_such_axis: ("error", "axis", "w_DequantizeLinear"),
    other_axis: ("float", "channel-axis", "w_DequantizeLinear"),
    no_axis: ("limited", "axis-missing", "w_DequantizeLinear"),
    no_scale: ("error", "scale-missing", "x_QuantizeLinear"),
    unnamed_scale: ("error", "scale-missing", "x_DequantizeLinear"),
    float64_scale: ("limited", "scale-type", "x_QuantizeLinear"),
    per_channel_activation: ("float", "per-channel-activation", "x_QuantizeLinear"),
    integer_operator: ("error", "unsupported-op", "dynamic"),
    old_opset: ("limited", "opset", "w_DequantizeLinear"),
    float16_scale: ("limited", "opset", "x_QuantizeLinear"),
    other_output_type: ("error", "output-dtype", "x_QuantizeLinear"),
    unsigned_data: ("error", "data-type", "w_DequantizeLinear"),
    single_scale_list: ("float", "scale-shape", "x_DequantizeLinear"),
    square_scale: ("error", "scale-shape", "x_DequantizeLinear"),
    infinite_scale: ("limited", "scale-positive", "x_QuantizeLinear"),
    microsoft_pairs: ("limited", "microsoft-domain", "x_QuantizeLinear"),
    scalar_constant: ("error", "scalar-constant", "offset_DequantizeLinear"),
    blocks_of_input_channels: ("error", "blocked-scales", "w_DequantizeLinear"),
    blocks_of_rows: ("float", "blocked-scales", "w_DequantizeLinear"),
    half_weights: ("error", "mixed-types", "node_a"),
    half_skip: ("error", "mixed-types", "sum"),
    four_bit_activation: ("error", "mixed-types", "node_a"),
    eight_bit_floats: ("limited", "fp8", "x_QuantizeLinear"),
}


def linear(kind: str, quantized_input: bool, **attributes: int) -> onnx.ModelProto:
    """x times weights of a 4- or 8-bit type, with a scale a column or a block."""
    rows = 64 // attributes["block_size"] if attributes else 1
    scales = np.full((rows, 32) if attributes else 32, 0.02, np.float32)
    constants = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "ws": scales}
    nodes = [
        *(qdq("x") if quantized_input else ()),
        toys.node("DequantizeLinear", "wq ws", "w", **{"axis": 1, **attributes}),
        toys.node("MatMul", "x_dq w" if quantized_input else "x w", "y", name="product"),
    ]
    model = toys.model(nodes, {"x": [8, 64]}, ["y"], constants, opset=21, ir_version=10)
    stored = onnx.helper.make_tensor("wq", getattr(onnx.TensorProto, kind), [64, 32], [3] * 2048)
    model.graph.initializer.append(stored)

    return model


@pytest.mark.parametrize("kind", ["INT4", "INT8"])
def test_weights_in_blocks_next_to_a_float_input_are_dequantized(kind: str) -> None:
    findings = lint_model(linear(kind, quantized_input=False, axis=0, block_size=16))
    assert ("float", "one-input", "product") in {(each.level, each.rule, each.node) for each in findings}


@pytest.mark.parametrize("attributes", [{}, {"axis": 0, "block_size": 16}])
def test_int4_weights_with_several_scales_next_to_int8_are_for_newer_parsers(
    attributes: dict[str, int],
) -> None:
    findings = lint_model(linear("INT4", quantized_input=True, **attributes))
    levels = {(each.level, each.rule) for each in findings}
    assert ("limited", "mixed-types") in levels and "error" not in {level for level, _ in levels}


def test_a_computed_scale_that_no_layer_reads_is_for_newer_parsers() -> None:
    nodes = [toys.node("ReduceMax", "x", "s", keepdims=0), *qdq("x")]
    model = toys.model(nodes, X, ["x_dq"], {"z": np.array(0, np.int8)})
    findings = [each for each in lint_model(model) if each.rule == "scale-constant"]
    assert findings and {each.level for each in findings} == {"limited"}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_planted_faults_are_found(plant: Callable[[onnx.ModelProto], None]) -> None:
    model = good()
    assert lint_model(model) == ()
    plant(model)
    findings = lint_model(model)
    assert FAULTS[plant] in {(f.level, f.rule, f.node) for f in findings}
    assert all(f.what and f.consequence for f in findings)


@pytest.mark.parametrize(("perm", "faults"), [([1, 0], 0), ([0, 1], 1)])
def test_the_channel_axis_is_followed_through_a_transpose(perm: list[int], faults: int) -> None:
    nodes = [
        *qdq("x"),
        toys.node("DequantizeLinear", "wq scales zeros", "w", axis=0),
        toys.node("Transpose", "w", "wt", perm=perm),
        toys.node("MatMul", "x_dq wt", "y"),
    ]
    constants = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.int8),
        "scales": np.full(16, 0.1, np.float32),
        "zeros": np.zeros(16, np.int8),
        "wq": np.ones((16, 16), np.int8),
    }
    found = lint_model(toys.model(nodes, {"x": ["N", 16]}, ["y"], constants))
    assert [each.rule for each in found] == ["channel-axis"] * faults


def qdq(tensor: str, scale: str = "s") -> list[onnx.NodeProto]:
    """A pair on a tensor; `<tensor>_dq` is its output."""
    return [
        toys.node("QuantizeLinear", f"{tensor} {scale} z", f"{tensor}_q"),
        toys.node("DequantizeLinear", f"{tensor}_q {scale} z", f"{tensor}_dq"),
    ]


W = [toys.node("DequantizeLinear", "wq s z", "w")]
RELU_BETWEEN = [*qdq("x"), *W, conv("x_dq", "a", "w"), *qdq("a"), toys.node("Relu", "a_dq", "y", name="act")]
BIAS = [
    *qdq("x"),
    *W,
    toys.node("DequantizeLinear", "bq s z", "b"),
    toys.node("Conv", "x_dq w b", "y", name="biased", pads=[1] * 4),
]
OUTPUT = [*qdq("x"), *W, conv("x_dq", "a", "w"), *qdq("a"), toys.node("Softmax", "a_dq", "y")]
ONE_INPUT = [*qdq("x"), conv("x_dq", "y", "wf")]
CONCAT = [
    *qdq("x"),
    *W,
    conv("x_dq", "a", "w"),
    *qdq("a"),
    toys.node("Relu", "x", "r"),
    *qdq("r", "s2"),
    toys.node("Concat", "a_dq r_dq", "y", axis=1, name="joined"),
]
COMMUTING = [
    *qdq("x"),
    *W,
    toys.node("MaxPool", "x_dq", "p", kernel_shape=[2, 2], name="pool"),
    *qdq("p"),
    conv("p_dq", "y", "w"),
]
BATCHNORM = [*qdq("x"), *W, conv("x_dq", "a", "w"), toys.node("BatchNormalization", "a g g g g", "y")]
CONV_SIDE = [
    *qdq("x"),
    *W,
    conv("x_dq", "a", "w"),
    *qdq("a"),
    toys.node("Add", "a_dq x_dq", "y", name="sum"),
]
SKIP = [*qdq("x"), *W, conv("x_dq", "a", "w"), toys.node("Add", "a x", "y", name="sum")]
SEVERAL = [
    toys.node("QuantizeLinear", "x s z", "q1"),
    toys.node("DequantizeLinear", "q1 s z", "d1"),
    toys.node("QuantizeLinear", "x s2 z", "q2", name="second"),
    toys.node("DequantizeLinear", "q2 s2 z", "d2"),
    *W,
    conv("d1", "a", "w"),
    conv("d2", "b", "w"),
    toys.node("Concat", "a b", "y", axis=1),
]
MISMATCH = [
    toys.node("QuantizeLinear", "x s z", "q1"),
    toys.node("DequantizeLinear", "q1 s2 z", "d1", name="other"),
    *W,
    conv("d1", "y", "w"),
]

ADVISED = {
    "inside-group": (RELU_BETWEEN, "act"),
    "bias": (BIAS, "biased"),
    "output-pair": (OUTPUT, "node_a"),
    "one-input": (ONE_INPUT, "node_y"),
    "concat-scales": (CONCAT, "joined"),
    "commuting-pair": (COMMUTING, "pool"),
    "batchnorm": (BATCHNORM, "node_a"),
    "residual-side": (CONV_SIDE, "sum"),
    "residual-skip": (SKIP, "sum"),
    "several-scales": (SEVERAL, "x"),
    "no-pair": (MISMATCH, "other"),
}


@pytest.mark.parametrize("rule", ADVISED)
def test_planted_bad_placements_are_found(rule: str) -> None:
    nodes, where = ADVISED[rule]
    constants = {
        "s": np.array(0.1, np.float32),
        "s2": np.array(0.2, np.float32),
        "z": np.array(0, np.int8),
        "wq": np.random.default_rng(0).integers(-127, 128, (16, 16, 3, 3), np.int8),
        "wf": weights(16, 16, 3, 3),
        "bq": np.ones(16, np.int8),
        "g": np.ones(16, np.float32),
    }
    findings = lint_model(toys.model(nodes, X, ["y"], constants))
    level = "float" if rule == "one-input" else "advice"
    assert [(f.level, f.rule, f.node) for f in findings] == [(level, rule, where)]
    assert findings[0].what and findings[0].consequence


@pytest.mark.parametrize("exclude", [(), ("pool",)])
def test_a_pair_in_front_of_a_pool_is_read_behind_it(exclude: tuple[str, ...]) -> None:
    scales = {"x": 0.1, "ar": 0.1, "mp": 0.1}
    assert lint_model(quantize_model(load(pool_branch()), scales, QdqOptions(exclude=exclude)).proto()) == ()


def test_a_float_model_is_refused() -> None:
    with pytest.raises(ModelError, match="nothing to check"):
        lint_model(toys.model([toys.node("Relu", "x", "y")], {"x": [1]}, ["y"]))


def test_a_missing_or_damaged_file_is_refused(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        lint_model(f"{tmp_path}/none.onnx")
    with open(f"{tmp_path}/bad.onnx", "wb") as file:
        file.write(b"not a model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        lint_model(f"{tmp_path}/bad.onnx")


def test_pairs_inside_functions_are_checked() -> None:
    inside = [
        toys.node("QuantizeLinear", "a s z", "q"),
        toys.node("DequantizeLinear", "q s z", "b"),
    ]
    model = toys.model(
        [toys.node("Fake", "x s z", "d", domain="mine"), toys.node("Relu", "d", "y")],
        X,
        ["y"],
        {"s": np.float32(0.1), "z": np.uint8(3)},
    )
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    opsets = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("mine", "Fake", ["a", "s", "z"], ["b"], inside, opsets))
    rules = {finding.rule for finding in lint_model(model)}
    assert {"zero-point-type", "zero-point-value"} & rules
