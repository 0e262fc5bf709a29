"""Samples are stacked where a net keeps rows apart, in their order, and never across the two sides."""

from __future__ import annotations

import numpy as np
from helpers.toys import model, node

from onnx_trtcal.improve.rounding.layer import rounded_layers
from onnx_trtcal.improve.rounding.stacks import most_together, stack_samples
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.search.task import int8_placement

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(4, 4)).astype(np.float32)


def together(nodes: list, shape: tuple[int, ...]) -> int:
    prepared = prepare(
        model(nodes, {"x": ("N", *shape)}, {"y": None}, {"w": WEIGHT}), Options(provider="cpu")
    )
    layers = rounded_layers(prepared.folded, prepared.groups, int8_placement(prepared))
    assert layers
    samples = [{"x": RANDOM.normal(size=(1, *shape)).astype(np.float32)} for _ in range(3)]
    graph = ExportedGraph(prepared.folded, prepared.model)
    return most_together(graph, layers, samples, (choose_provider("cpu"), None, ()))


def test_how_many_go_together() -> None:
    assert together([node("MatMul", "x w", "y")], (4,)) == 32
    assert together([node("MatMul", "x w", "y")], (1 << 16, 4)) == 4
    # Rows that mix.
    assert together([node("Softmax", "x", "s", axis=0), node("MatMul", "s w", "y")], (4,)) == 1


def test_sides_and_shapes_are_not_mixed() -> None:
    samples = [{"x": np.full((1, 3 if at == 4 else 2), at)} for at in range(7)]
    found = stack_samples(samples, [0, 1, 3, 4, 6], [2, 5], 2)
    rows = [each["x"][:, 0].tolist() for each in found.feeds]
    assert rows == [[0, 1], [3], [4], [6], [2, 5]]
    assert found.counts == (2, 1, 1, 1, 2)
    assert (found.fit, found.back) == ((0, 1, 2, 3), (4,))
