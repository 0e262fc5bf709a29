"""Reading a model: what is known of it afterwards, and the message when it cannot be read."""

from __future__ import annotations

import hashlib
import os
import time

import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.runnable import find_runnable


def simple(**options) -> onnx.ModelProto:
    nodes = [toys.node("MatMul", "x w", "h"), toys.node("Relu", "h", "y")]
    return toys.model(
        nodes, {"x": ("N", 64)}, {"y": ("N", 32)}, {"w": np.ones((64, 32), np.float32)}, **options
    )


def test_types_shapes_inputs_and_hash(tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save(simple(), path)
    model = load(path)
    assert model.path == path and model.outputs == ("y",)
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("x", np.float32, ("N", 64))]
    assert dict(model.elem_types) == dict.fromkeys("xwhy", TensorProto.FLOAT)
    assert model.shapes["h"] == ("N", 32)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(str(path)).sha256 == load(simple()).sha256
    assert load(model) is model


def test_initializers_are_no_inputs_even_where_they_are_declared_so():
    proto = simple(ir_version=3, opset=8)
    proto.graph.input.append(helper.make_tensor_value_info("w", 1, [64, 32]))
    assert [spec.name for spec in load(proto).inputs] == ["x"]


def test_onnx_runtime_types_what_onnx_cannot_infer():
    nodes = [
        toys.node("FusedGemm", "x w b", "f", domain="com.microsoft", activation="Relu"),
        toys.node("Cast", "f", "i", to=TensorProto.INT64),
        toys.node("Gelu", "f", "y", domain="com.microsoft"),
    ]
    constants = {"w": np.ones((64, 32), np.float32), "b": np.ones(32, np.float32)}
    proto = toys.model(nodes, {"x": (2, 64)}, ["y", "i"], constants, dtypes={"i": TensorProto.INT64})
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = load(proto)
    assert model.elem_types["f"] == model.elem_types["y"] == TensorProto.FLOAT
    assert model.elem_types["i"] == TensorProto.INT64


def test_sequences_have_no_element_type():
    nodes = [toys.node("SequenceConstruct", "x x", "s"), toys.node("ConcatFromSequence", "s", "y", axis=0)]
    model = load(toys.model(nodes, {"x": (2, 3)}, ["y"]))
    assert model.elem_types["s"] == 0 and model.elem_types["y"] == TensorProto.FLOAT


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
def test_opsets(opset):
    assert load(simple(opset=opset, ir_version=8 if opset < 21 else 10)).elem_types["y"] == TensorProto.FLOAT


def test_nodes_in_any_order():
    proto = simple()
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[::-1])
    assert load(proto).elem_types["h"] == TensorProto.FLOAT


def external(tmp_path, name="a.onnx"):
    path = tmp_path / name
    onnx.save(simple(), path, save_as_external_data=True, location="a.bin", size_threshold=0)
    return path


def test_external_weights_stay_outside_and_count_in_the_hash(tmp_path):
    path = external(tmp_path)
    model = load(path)
    assert not model.proto.graph.initializer[0].raw_data
    assert model.elem_types["w"] == TensorProto.FLOAT and model.directory == tmp_path
    first = model.sha256
    with open(tmp_path / "a.bin", "r+b") as file:
        file.write(b"\1")
    assert load(path).sha256 != first


def message(model, **options) -> str:
    with pytest.raises(ModelError) as caught:
        load(model, **options)
    return str(caught.value)


def test_missing_and_short_external_files_are_named(tmp_path):
    path = external(tmp_path)
    os.truncate(tmp_path / "a.bin", 100)
    assert "a.bin (100 bytes, 8,192 wanted)" in message(path)
    (tmp_path / "a.bin").unlink()
    text = message(path)
    assert "missing: a.bin" in text and str(tmp_path) in text
    assert "instead of a ModelProto" in message(onnx.load(path, load_external_data=False))


def test_files_that_are_no_model(tmp_path):
    onnx.save(simple(), tmp_path / "model.onnx")
    (tmp_path / "text.onnx").write_text("hello, this is text\n" * 20)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "did you mean 'model.onnx'" in message(tmp_path / "modell.onnx")
    assert "not an ONNX model" in message(tmp_path / "text.onnx")
    assert "holds no graph" in message(tmp_path / "empty.onnx")
    assert "git lfs pull" in message(tmp_path / "lfs.onnx")
    assert "folder" in message(tmp_path)


def test_what_onnx_runtime_refuses_is_said_in_plain_words(tmp_path):
    def refusal(model: onnx.ModelProto, **options) -> str:
        with pytest.raises(ModelError) as caught:
            find_runnable(load(model), **options)
        return str(caught.value)

    wrong = toys.model([toys.node("MatMul", "x", "y", name="bad")], {"x": (1,)}, ["y"])
    assert "'bad'" in refusal(wrong)
    unnamed = toys.model([toys.node("MatMul", "x", "there")], {"x": (1,)}, ["there"])
    assert "'there'" in refusal(unnamed)
    library = str(tmp_path / "none.so")
    assert library in refusal(simple(), ort_custom_ops=[library])


def test_an_input_that_is_no_tensor_is_refused():
    proto = toys.model([toys.node("SequenceAt", "s i", "y")], {}, ["y"], {"i": np.array(0)})
    proto.graph.input.append(helper.make_tensor_sequence_value_info("s", 1, None))
    assert "'s' is not a tensor" in message(proto)


def test_a_thousand_nodes_load_quickly():
    nodes = [toys.node("Relu", f"t{i}" if i else "x", f"t{i + 1}") for i in range(1000)]
    proto = toys.model(nodes, {"x": (1, 8)}, ["t1000"])
    load(simple())
    start = time.perf_counter()
    load(proto)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("model", [b"\x08\x08", None, 3])
def test_what_is_no_model_at_all_is_refused(model):
    with pytest.raises(ModelError, match=f"this is {type(model).__name__}"):
        load(model)
