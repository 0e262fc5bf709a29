"""Models are checked before they are written, and one that is not valid leaves no file behind."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.save import save_model


def product(**options) -> onnx.ModelProto:
    nodes = [toys.node("MatMul", "x w", "h"), toys.node("Relu", "h", "y")]
    weights = {"w": np.ones((64, 32), np.float32)}
    return toys.model(nodes, {"x": (2, 64)}, {"y": (2, 32)}, weights, **options)


def refused(proto, change, tmp_path) -> str:
    model = load(proto)
    graph = import_graph(model)
    change(graph)
    with pytest.raises(ModelError, match="nothing was written") as caught:
        save_model(graph, model, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())
    assert caught.value.where == str(tmp_path / "out.onnx")
    return str(caught.value)


def test_what_the_checker_refuses(tmp_path):
    def wrong_attribute(graph):
        graph.nodes[1].attrs["nothing"] = 3

    assert "nothing" in refused(product(), wrong_attribute, tmp_path)


def test_types_that_do_not_fit(tmp_path):
    def half(graph):
        graph.nodes[0].inputs[1] = gs.Constant("half", np.ones((64, 32), np.float16))

    assert "float" in refused(product(), half, tmp_path)


def test_a_tensor_that_nobody_makes(tmp_path):
    def unconnected(graph):
        graph.nodes[1].inputs[0] = gs.Variable("nowhere", np.float32)

    assert "nowhere" in refused(product(), unconnected, tmp_path)


def test_faults_behind_a_plugin_are_seen_all_the_same(tmp_path):
    nodes = [toys.node("Sort_TRT", "x", "s"), toys.node("MatMul", "s w", "y")]
    proto = toys.model(nodes, {"x": (2, 64)}, ["y"], {"w": np.ones((64, 32), np.float32)})

    def wrong_attribute(graph):
        graph.nodes[1].attrs["nothing"] = 3

    assert "nothing" in refused(proto, wrong_attribute, tmp_path)


@pytest.mark.parametrize("domain", ["", "acme"])
def test_plugins_newer_ir_versions_and_faults_of_the_original_are_written(tmp_path, domain):
    nodes = [toys.node("Sort_TRT", "x", "s", domain=domain), toys.node("MatMul", "s w", "y")]
    proto = toys.model(nodes, {"x": (2, 64)}, {"y": (7, 7)}, {"w": np.ones((64, 32), np.float32)})
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    proto.ir_version = 99
    model = load(proto)
    save_model(import_graph(model), model, tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx") == proto


def test_weights_outside_and_types_that_the_cpu_cannot_run(tmp_path):
    onnx.save(product(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.bin")
    model = load(tmp_path / "m.onnx")
    files = save_model(import_graph(model), model, tmp_path / "out.onnx")
    assert [file.name for file in files] == ["out.onnx", "out.onnx.data"]
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)
    half = toys.model(
        [toys.node("Conv", "x x", "y")],
        {"x": (1, 1, 2, 2)},
        ["y"],
        opset=22,
        ir_version=10,
        dtypes={"x": TensorProto.BFLOAT16, "y": TensorProto.BFLOAT16},
    )
    model = load(half)
    assert save_model(import_graph(model), model, tmp_path / "bf16.onnx")
