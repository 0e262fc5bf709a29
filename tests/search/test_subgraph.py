"""Subgraphs as models: what comes before and after a boundary computes what the whole does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers.toys import model, node, run

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.search.subgraph import ExportedGraph

RNG = np.random.default_rng(0)
WEIGHTS = {
    name: RNG.normal(size=shape).astype(np.float32)
    for name, shape in {"w1": (8, 6), "w2": (6, 6), "w3": (6, 4)}.items()
}


def branched() -> onnx.ModelProto:
    """a = relu(x W1), y = (a tanh(a W2)) W3."""
    return model(
        [
            node("MatMul", "x w1", "a0"),
            node("Relu", "a0", "a"),
            node("MatMul", "a w2", "b0"),
            node("Tanh", "b0", "b"),
            node("Mul", "a b", "c"),
            node("MatMul", "c w3", "y"),
        ],
        {"x": ("N", 8)},
        ["y"],
        WEIGHTS,
    )


def test_a_subgraph_runs_from_its_boundary_to_what_is_wanted() -> None:
    proto = branched()
    prepared = prepare(proto, Options(provider="cpu"))
    graph = ExportedGraph(prepared.folded, prepared.model)
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    before = graph.before(["b"])
    first = onnx.load_from_string(graph.model(before, {"x": 1}, ["a", "b"]).model_bytes)
    a, b = run(first, {"x": x})
    behind = [at for at in range(len(graph.nodes)) if at not in before]
    assert sorted(graph.boundary(behind)) == ["a", "b"]
    second = onnx.load_from_string(graph.model(behind, {"a": 1, "b": 1}, ["y"]).model_bytes)
    assert {tensor.name for tensor in second.graph.initializer} == {"w3"}
    assert run(second, {"a": a, "b": b})[0] == pytest.approx(run(proto, {"x": x})[0], rel=1e-5)
