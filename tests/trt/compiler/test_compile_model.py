"""NVIDIA's verdict on patterns that this package quantizes, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import (
    Pattern,
    attention,
    branches,
    needs_compiler,
    pooled_classifier,
    quantized,
    two_convs,
    values,
)

from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.trt.compiler.compile_model import Compilation, compile_model
from onnx_trtcal.trt.compiler.differences import Difference, find_differences
from onnx_trtcal.trt.compiler.options import CompileOptions, parse_shapes

pytestmark = pytest.mark.slow

MODELS = Path(__file__).resolve().parents[3] / "models"


def types(made: Compilation) -> dict[str, str]:
    assert made.built, made.problems
    return {layer.name: layer.precision for layer in made.layers}


def residual() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 40)
    pattern.op("Relu", "a", "r")
    pattern.conv("r", "b", 40, 40)
    pattern.op("Add", "b r", "s")
    pattern.op("Relu", "s", "t")
    return pattern.model(pattern.conv("t", "c", 40, 16, kernel=1))


def inception() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 32)
    pattern.op("Sigmoid", "a", "s")
    pattern.op("Mul", "a s", "silu")
    pattern.conv("silu", "b", 32, 16, kernel=1)
    pattern.op("MaxPool", "silu", "m", kernel_shape=[3, 3], pads=[1] * 4)
    pattern.conv("m", "c", 32, 24, kernel=5)
    pattern.op("Concat", "b c", "bc", axis=1)
    return pattern.model(pattern.conv("bc", "d", 40, 40, group=40))


def upsampler() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 32)
    pattern.store("w", values(32, 16, 2, 2))
    pattern.op("ConvTranspose", "a w", "up", strides=[2, 2], kernel_shape=[2, 2])
    return pattern.model(pattern.conv("up", "c", 16, 16))


def narrow() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 8)
    pattern.conv("a", "b", 8, 8)
    return pattern.model(pattern.conv("b", "c", 8, 24))


@needs_compiler
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("make", [residual, inception])
def test_convolutions_run_in_int8(make: object, precision: str) -> None:
    made = compile_model(quantized(make(), high_precision=precision))
    assert set(types(made).values()) == {"INT8"}
    assert not made.lost and made.summary.int8_share == 1
    # One kernel converts the network's input; every other one does work of the model.
    assert made.summary.converting <= 2


@needs_compiler
def test_a_transposed_convolution_does_not() -> None:
    made = compile_model(quantized(upsampler()))
    assert types(made) == {"n_a": "INT8", "n_up": "float", "n_c": "INT8"}
    assert [layer.why for layer in made.lost] == ["this compiler has no INT8 kernel for ConvTranspose"]


@needs_compiler
def test_attention_left_in_float_and_quantized() -> None:
    left = compile_model(quantized(attention(), attention="float"))
    assert types(left) == {
        "n_q": "INT8", "n_k": "INT8", "n_v": "INT8", "n_qk": "float", "n_pv": "float", "n_out": "INT8"
    }  # fmt: skip
    assert not left.lost  # they have no pairs
    inside = compile_model(quantized(attention(), attention="int8"))
    assert set(types(inside).values()) == {"INT8"}
    assert inside.summary.bytes_moved < left.summary.bytes_moved
    assert find_differences(left, inside) == (
        Difference("n_qk", "MatMul", "float", "INT8"),
        Difference("n_pv", "MatMul", "float", "INT8"),
    )


@needs_compiler
def test_packed_projections_need_their_weights_in_float() -> None:
    lost = compile_model(quantized(attention(packed=True), weights="int8"))
    assert [(layer.name, layer.precision) for layer in lost.lost] == [("n_qkv", "float")]
    assert lost.lost[0].why.startswith("dequantized first: ")
    kept = compile_model(quantized(attention(packed=True), weights="float"))
    assert types(kept)["n_qkv"] == "INT8" and not kept.lost


@needs_compiler
def test_few_channels_and_matrix_vector_products() -> None:
    some = compile_model(quantized(narrow(), min_channels=16))
    assert types(some) == {"n_a": "INT8", "n_b": "float", "n_c": "INT8"}
    assert set(types(compile_model(quantized(narrow()))).values()) == {"INT8"}
    for rows in (1, 4):
        made = compile_model(quantized(pooled_classifier(rows)))
        assert types(made) == {"n_a": "INT8", "n_y": "INT8"}


@needs_compiler
def test_excluded_layers_take_the_reason_they_are_given() -> None:
    made = compile_model(quantized(residual(), exclude=("n_b",)))
    assert types(made) == {"n_a": "INT8", "n_b": "float", "n_c": "INT8"}
    reasons = {"n_b": "excluded by 'n_b'", "n_a": "not used: it has pairs"}
    why = {layer.name: layer.why for layer in made.explained(reasons).layers}
    assert why == {"n_a": "", "n_b": "excluded by 'n_b'", "n_c": ""}
    assert made.layers[1].why == "no Q/DQ pair on its input and its weights"


@needs_compiler
def test_scales_that_cost_int8() -> None:
    model = quantized(two_convs())
    scale = next(node for node in model.graph.node if node.name == "r_DequantizeLinear").input[1]
    for tensor in model.graph.initializer:
        if tensor.name == scale:
            tensor.dims.append(1)
    made = compile_model(model)
    assert types(made) == {"n_a": "INT8", "n_c": "float"}
    assert "is of shape [1], not a scalar" in made.lost[0].why


@needs_compiler
def test_a_float_model_runs_in_float() -> None:
    made = compile_model(two_convs())
    assert set(types(made).values()) == {"float"} and not made.lost
    assert made.summary.int8_bytes == 0 and made.summary.int8_share == 0


@needs_compiler
def test_convolutions_in_the_bodies_of_an_if() -> None:
    made = compile_model(branches())
    assert types(made) == {"n_yes": "float", "n_no": "float"}
    assert all(len(layer.kernels) == 1 for layer in made.layers)


@needs_compiler
@pytest.mark.parametrize("gpu", ["sm89", "sm120"])
def test_other_gpus_agree(gpu: str) -> None:
    model = quantized(residual())
    here, there = compile_model(model), compile_model(model, CompileOptions(gpu=gpu))
    assert types(here) == types(there) and there.gpu == gpu
    assert here.summary.kernels == there.summary.kernels


@needs_compiler
def test_the_bundled_models() -> None:
    made = compile_model(MODELS / "digits_resnet.onnx")
    assert made.built and made.shapes == {"input": (1, 1, 8, 8)}
    assert len(made.layers) == 10
    wider = compile_model(MODELS / "digits_resnet.onnx", CompileOptions(shapes={"input": (5, 1, 8, 8)}))
    assert wider.summary.macs == 5 * made.summary.macs


@needs_compiler
def test_external_weights_are_found_beside_the_model(tmp_path: Path) -> None:
    onnx.save(
        two_convs(), tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0
    )
    assert set(types(compile_model(tmp_path / "m.onnx"))) == {"n_a", "n_c"}


def test_external_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    onnx.save(two_convs(), tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    with pytest.raises(ModelError, match="the model's weights are missing: w"):
        compile_model(tmp_path / "m.onnx")


@needs_compiler
@pytest.mark.parametrize("external", [False, True])
def test_layers_inside_functions_are_counted(tmp_path: Path, external: bool) -> None:
    nodes = [toys.node("Conv", "a k", "t", name="conv"), toys.node("Relu", "t", "o")]
    imports = [onnx.helper.make_opsetid("", 17)]
    calls = [toys.node("Block", "x w", "h", domain="mine"), toys.node("Block", "h w", "y", domain="mine")]
    weights = {"w": values(24, 24, 1, 1)}
    model = toys.model(calls, {"x": (1, 24, 5, 6)}, {"y": (1, 24, 5, 6)}, weights, opset=17)
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    model.functions.append(onnx.helper.make_function("mine", "Block", ["a", "k"], ["o"], nodes, imports))
    path = tmp_path / "m.onnx"
    (tmp_path / "weights").mkdir()
    onnx.save(model, path, save_as_external_data=external, location="weights/all", size_threshold=0)
    made = compile_model(path)
    assert types(made) == {"conv__1": "float", "conv__2": "float"}
    assert [layer.macs for layer in made.layers] == [24 * 24 * 5 * 6] * 2


@needs_compiler
def test_what_the_builder_refuses_is_a_verdict() -> None:
    nodes = [
        toys.node("DequantizeLinear", "q s", "c", name="dq"),
        toys.node("Mul", "x c", "y", name="mul"),
    ]
    constants = {"q": np.array(7, np.int8), "s": np.array(0.5, np.float32)}
    made = compile_model(toys.model(nodes, {"x": [1, 8]}, ["y"], constants))
    assert not made.built and made.summary is None and made.layers == ()
    assert [(problem.stage, problem.rule) for problem in made.problems] == [("builder", "quantized-constant")]


@needs_compiler
def test_an_input_that_holds_a_shape_needs_its_values() -> None:
    model = toys.model(
        [toys.node("Reshape", "x size", "y")], {"x": [2, 12], "size": [2]}, ["y"], dtypes={"size": 7}
    )
    missing = compile_model(model)
    assert [(problem.stage, problem.node) for problem in missing.problems] == [("inputs", "size")]
    assert compile_model(model, CompileOptions(shapes={"size": (4, 6)})).built


def open_sides() -> onnx.ModelProto:
    model = two_convs()
    for at, name in ((0, "N"), (2, "H"), (3, "W")):
        model.graph.input[0].type.tensor_type.shape.dim[at].dim_param = name
    return model


def test_open_dimensions_beside_the_batch_are_asked_for() -> None:
    with pytest.raises(OptionError, match="'x' has open dimensions beside the batch: Nx24xHxW") as caught:
        compile_model(open_sides())
    assert caught.value.fix == "give its shape, such as --shapes x:1x24x224x224"


@needs_compiler
def test_and_taken() -> None:
    made = compile_model(open_sides(), CompileOptions(shapes={"x": (2, 24, 5, 6)}))
    assert made.built and made.shapes == {"x": (2, 24, 5, 6)}
    assert made.layers[0].macs == 2 * 16 * 5 * 6 * 24 * 9


@pytest.mark.parametrize("shape", [(1, 24, 5), (1, 23, 5, 6)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="is Nx24xHxW in the model, and --shapes makes it"):
        compile_model(open_sides(), CompileOptions(shapes={"x": shape}))


def test_an_empty_batch_says_nothing_of_a_model() -> None:
    with pytest.raises(OptionError, match="makes the input 'x' empty: 0x24x5x6"):
        compile_model(open_sides(), CompileOptions(shapes={"x": (0, 24, 5, 6)}))


def test_shapes_of_unknown_inputs() -> None:
    with pytest.raises(OptionError, match="no input 'y'"):
        compile_model(two_convs(), CompileOptions(shapes={"y": (1,)}))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such model file"):
        compile_model(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("this is not a model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        compile_model(tmp_path / "text.onnx")


def test_shapes_as_trtexec_writes_them() -> None:
    assert parse_shapes(["a:1x3x8x8", "b:0:2,c:4x5"]) == {"a": (1, 3, 8, 8), "b:0": (2,), "c": (4, 5)}
    for wrong in ("a", "a:", ":1x2", "a:1x-1", "a:1xN"):
        with pytest.raises(OptionError, match="is not an input's shape"):
            parse_shapes([wrong])
    with pytest.raises(OptionError, match="twice"):
        parse_shapes(["a:1", "a:2"])


@pytest.mark.parametrize(
    "fields", [{"gpu": "sm75"}, {"timeout": 0.0}, {"timeout": float("inf")}, {"timeout": float("nan")}]
)
def test_bad_options(fields: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CompileOptions(**fields)


@needs_compiler
def test_an_open_dimension_may_be_written_as_minus_one() -> None:
    model = two_convs()
    for at in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[at].dim_value = -1
    with pytest.raises(OptionError, match="open dimensions beside the batch"):
        compile_model(model)
    assert compile_model(model, CompileOptions(shapes={"x": (1, 24, 5, 6)})).built
