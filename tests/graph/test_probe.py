"""The probe: a model that shows the observed tensors, and computes what the original computes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import toys
from helpers.random_models import random_models
from hypothesis import given, settings
from onnx import TensorProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model import exporter
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.plan.plan import plan
from onnx_trtcal.graph.probe import probe

RNG = np.random.default_rng(0)
M = RNG.normal(size=(256, 256)).astype(np.float32)
NODES = [
    toys.node("MatMul", "x m", "c"),
    toys.node("Relu", "c", "r"),
    toys.node("Exp", "r", "e"),
    toys.node("Neg", "r", "n"),
]


def run(found, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if found.directory is not None:
        folder = str(found.directory)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    if found.external:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in found.external.values()]
        options.add_external_initializers(list(found.external), values)
    session = ort.InferenceSession(found.model_bytes, options, providers=["CPUExecutionProvider"])
    return dict(zip(found.outputs, session.run(None, feeds), strict=True))


def test_bfloat16_tensors_are_shown_as_float32():
    nodes = [toys.node("Cast", "x", "half", to=TensorProto.BFLOAT16), toys.node("Identity", "half", "y")]
    model = load(toys.model(nodes, {"x": ["n"]}, ["y"], dtypes={"y": TensorProto.BFLOAT16}))
    feeds = {"x": np.float32([1, 3.14159])}  # lives on: see Session about outputs that are inputs
    values = run(probe(import_graph(model), model, ["y", "x", "half"]), feeds)
    np.testing.assert_array_equal(values["half"], np.float32([1, 3.140625]))
    np.testing.assert_array_equal(values["y"], values["half"])
    assert values["x"][1] == np.float32(3.14159)


def model_of(nodes=NODES, outputs=("e", "n"), **kwargs):
    return load(toys.model(nodes, {"x": ["n", 256]}, outputs, {"m": M}, **kwargs))


X = RNG.normal(size=(3, 256)).astype(np.float32)


def test_observed_tensors_are_the_outputs_in_the_order_asked_for():
    model = model_of()
    found = probe(import_graph(model), model, ["r", "x", "c"])
    values = run(found, {"x": X})
    assert list(values) == ["r", "x", "c"]
    np.testing.assert_array_equal(values["x"], X)
    np.testing.assert_allclose(values["c"], X @ M, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(values["r"], np.maximum(values["c"], 0))


def test_nodes_that_no_observed_tensor_needs_do_not_run():
    model = model_of()
    found = probe(import_graph(model), model, ["c"])
    shown = onnx.load_from_string(found.model_bytes)
    assert [node.op_type for node in shown.graph.node] == ["MatMul"]
    assert [value.name for value in shown.graph.input] == ["x"]


def test_inputs_stay_feedable_though_nothing_observed_needs_them():
    model = load(
        toys.model([*NODES[:2], toys.node("Neg", "z", "n")], {"x": [1, 256], "z": [1]}, ["r", "n"], {"m": M})
    )
    found = probe(import_graph(model), model, ["r"])
    assert run(found, {"x": X[:1], "z": np.zeros(1, np.float32)})["r"].shape == (1, 256)


def test_many_convolutions_are_told_whatever_is_observed(monkeypatch):
    nodes = [toys.node("Conv", f"c{i} w", f"c{i + 1}") for i in range(3)]
    model = load(toys.model(nodes, {"c0": (1, 2, 4, 4)}, ["c3"], {"w": np.ones((2, 2, 1, 1), np.float32)}))
    for most, many in ((3, False), (2, True)):
        monkeypatch.setattr("onnx_trtcal.graph.probe.MANY_CONVS", most)
        assert [probe(import_graph(model), model, [name]).many_convs for name in ("c1", "c3")] == [many, many]


def test_graph_and_model_stay_as_they_were():
    model = model_of()
    graph = import_graph(model)
    before = model.proto.SerializeToString(deterministic=True)
    probe(graph, model, ["c"])
    assert [node.op for node in graph.nodes] == ["MatMul", "Relu", "Exp", "Neg"]
    assert [tensor.name for tensor in graph.outputs] == ["e", "n"]
    assert model.proto.SerializeToString(deterministic=True) == before


def test_a_tensor_the_graph_lacks_is_refused_by_name():
    model = model_of()
    with pytest.raises(ModelError, match="'nowhere'"):
        probe(import_graph(model), model, ["nowhere"])


def test_weights_of_a_large_model_travel_as_arrays():
    model = model_of()
    graph = import_graph(model)
    found = probe(graph, model, ["c"], inline_bytes=1024)
    assert len(found.model_bytes) < 1024
    assert list(found.external) == ["m"]
    np.testing.assert_allclose(run(found, {"x": X})["c"], X @ M, rtol=1e-4, atol=1e-4)
    graph.nodes[0].inputs[1].values = 2 * M
    changed = probe(graph, model, ["c"], inline_bytes=1024)
    np.testing.assert_allclose(run(changed, {"x": X})["c"], 2 * X @ M, rtol=1e-4, atol=1e-4)


def test_weights_in_files_stay_there(tmp_path):
    path = tmp_path / "model.onnx"
    proto = toys.model(NODES, {"x": ["n", 256]}, ["e", "n"], {"m": M})
    onnx.save_model(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = load(path)
    found = probe(import_graph(model), model, ["c"])
    assert len(found.model_bytes) < 1024
    assert not found.external
    assert found.directory == tmp_path
    np.testing.assert_allclose(run(found, {"x": X})["c"], X @ M, rtol=1e-4, atol=1e-4)


def test_initializers_that_are_inputs_need_no_feed():
    proto = toys.model(NODES[:2], {"x": ["n", 256], "m": [256, 256]}, ["r"], {"m": M}, ir_version=3, opset=8)
    model = load(proto)
    found = probe(import_graph(model), model, ["c"])
    shown = onnx.load_from_string(found.model_bytes)
    assert [value.name for value in shown.graph.input] == ["x"]
    assert run(found, {"x": X})["c"].shape == (3, 256)


def test_nodes_in_any_order_and_tensors_that_subgraphs_read():
    body = helper.make_graph(
        [toys.node("Mul", "r k", "inner")],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        [helper.make_tensor("k", TensorProto.FLOAT, [], [3.0])],
    )
    nodes = [toys.node("If", "flag", "z", then_branch=body, else_branch=body), *NODES[1::-1]]
    inputs = {"x": ["n", 256], "flag": []}
    model = load(toys.model(nodes, inputs, ["z"], {"m": M}, dtypes={"flag": TensorProto.BOOL}))
    values = run(probe(import_graph(model), model, ["z", "r"]), {"x": X, "flag": np.array(True)})
    np.testing.assert_array_equal(values["z"], 3 * values["r"])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(random_models())
def test_showing_tensors_changes_none(proto):
    model = load(proto)
    graph = import_graph(model)
    observed = plan(model, graph, {}, observe="all").observed
    x = RNG.normal(size=(1, 4, 4, 4)).astype(np.float32)
    values = run(probe(graph, model, observed), {"x": x})
    for name, value in zip(model.outputs, toys.run(proto_sorted(model), {"x": x}), strict=True):
        if name in values:
            np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-5)


def proto_sorted(model):
    return exporter.export_model(import_graph(model), model)


def test_shapes_can_be_had_without_the_values():
    nodes = [toys.node("Concat", "x x", "y", axis=1), toys.node("Shape", "y", "y_shape")]
    nodes.append(toys.node("Cast", "y", "b", to=TensorProto.BFLOAT16))
    nodes.append(toys.node("Cast", "y", "h", to=TensorProto.FLOAT16))
    types = {"y_shape": TensorProto.INT64, "h": TensorProto.FLOAT16}
    model = load(toys.model(nodes, {"x": ["N", 2, "W"]}, ["h", "y_shape"], dtypes=types))
    shown = probe(import_graph(model), model, ["x", "y", "h", "b"], shapes_only=True)
    feed = np.zeros((3, 2, 5), np.float32)
    shapes = toys.run(onnx.ModelProto.FromString(shown.model_bytes), {"x": feed})
    assert [shape.tolist() for shape in shapes] == [[3, 2, 5], [3, 4, 5], [3, 4, 5], [3, 4, 5]]
