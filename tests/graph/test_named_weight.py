"""Weights by name, with the axis of their output channels."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import toys

from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.named_weight import named_weight


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "axis"),
    [
        ("Conv", (4, 2, 3, 3), {}, 0),
        ("ConvTranspose", (2, 4, 3, 3), {}, 1),
        ("MatMul", (2, 4), {}, 1),
        ("Gemm", (4, 2), {"transB": 1}, 0),
    ],
)
def test_a_weight_and_its_channels(
    op: str, shape: tuple[int, ...], attributes: dict[str, int], axis: int
) -> None:
    weight = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    node = toys.node(op, "x w", "y", **attributes)
    inputs = {"x": [1, 2, 5, 5] if len(shape) > 2 else [1, 2]}
    graph = import_graph(load(toys.model([node], inputs, {"y": None}, {"w": weight})))
    values, found = named_weight(graph, "w")
    assert found == axis and np.array_equal(values, weight)
    assert named_weight(graph, "x") is None and named_weight(graph, "y") is None


def test_what_is_no_weight() -> None:
    nodes = [toys.node("Add", "x b", "a"), toys.node("MatMul", "a v", "y")]
    constants = {"b": np.ones(2, np.float32), "v": np.ones(2, np.float32)}
    graph = import_graph(load(toys.model(nodes, {"x": [1, 2]}, {"y": None}, constants)))
    assert named_weight(graph, "b") is None  # added, not multiplied by
    assert named_weight(graph, "v") is None  # a vector has no channels
