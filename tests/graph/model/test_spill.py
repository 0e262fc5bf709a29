"""Large folded weights leave memory for a file, and nothing else changes."""

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal.graph.fold.fold import fold
from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.save import save_model
from onnx_trtcal.graph.model.spill import spill
from onnx_trtcal.graph.model.weights import SpilledValues
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session

SIDE = 160  # a square matrix of 102,400 bytes, over the 64 KiB that are worth a reference


def network() -> onnx.ModelProto:
    """Gemm+BatchNormalization, then a MatMul that nothing folds into."""
    random = np.random.default_rng(1)
    square = {name: random.normal(size=(SIDE, SIDE)).astype(np.float32) for name in ("w", "v")}
    rows = {name: random.uniform(0.5, 2, SIDE).astype(np.float32) for name in "gbmu"}
    nodes = [
        toys.node("Gemm", "x w", "c"),
        toys.node("BatchNormalization", "c g b m u", "n"),
        toys.node("MatMul", "n v", "y"),
    ]
    return toys.model(nodes, {"x": ["N", SIDE]}, ["y"], square | rows)


@pytest.fixture(params=["inline", "beside"])
def folded(request, tmp_path):
    """The model, its weights in the file or in another one in a sub-folder, and its folded graph."""
    path = tmp_path / "model.onnx"
    (tmp_path / "weights").mkdir()
    beside = request.param == "beside"
    onnx.save(network(), path, save_as_external_data=beside, location="weights/w.bin", size_threshold=0)
    model = load(path)
    graph = import_graph(model)
    fold(graph)
    return model, graph


def values(graph, model, feed):
    return Session(probe(graph, model, ["n", "y"]), Provider("cpu", "")).run({"x": feed}, "")


def folder_of(graph) -> Path:
    (moved,) = [t for t in graph.tensors().values() if isinstance(getattr(t, "_values", None), SpilledValues)]
    return moved._values.folder.path


def test_a_session_gives_the_same_bits_and_needs_no_array(folded):
    model, graph = folded
    feed = np.random.default_rng(2).normal(size=(3, SIDE)).astype(np.float32)
    before = values(graph, model, feed)
    assert spill(graph, model, inline_bytes=0)
    observed = probe(graph, model, ["n", "y"])
    assert "w.folded" not in observed.external
    assert observed.directory == folder_of(graph)
    for want, got in zip(before, values(graph, model, feed), strict=True):
        np.testing.assert_array_equal(want, got)


def test_the_model_that_is_saved_is_the_same(folded, tmp_path):
    model, graph = folded
    save_model(graph, model, tmp_path / "one.onnx")
    spill(graph, model, inline_bytes=0)
    save_model(graph, model, tmp_path / "two.onnx")
    one, two = (onnx.load(tmp_path / name) for name in ("one.onnx", "two.onnx"))
    assert one == two
    assert export_model(graph, model).graph.node == one.graph.node


def test_the_file_goes_with_the_graph(folded):
    model = folded[0]
    graph = import_graph(model)
    fold(graph)
    assert spill(graph, model, inline_bytes=0)
    folder = folder_of(graph)
    assert folder.is_dir()
    del graph
    gc.collect()
    assert not folder.exists()


def test_little_stays_in_memory(folded):
    model, graph = folded
    assert not spill(graph, model, inline_bytes=SIDE * SIDE * 4)


def test_without_room_all_stays_as_it_is(folded, tmp_path, monkeypatch):
    model, graph = folded
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert not spill(graph, model, inline_bytes=0)
    values(graph, model, np.zeros((1, SIDE), np.float32))
