"""Which scales follow from which."""

from __future__ import annotations

import numpy as np
from helpers import toys
from helpers.qdq_toys import conv, weights

from onnx_trtcal.graph.groups.fuse import find_groups
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.carry import carry_scales

X = {"x": ["N", 16, 6, 6]}


def carried(nodes: list, outputs: list[str], found: dict[str, float], **constants: np.ndarray) -> tuple:
    model = load(toys.model(nodes, X, outputs, {"w": weights(16, 16, 3, 3), **constants}))
    graph = import_graph(model)
    return carry_scales(graph, find_groups(graph, model.shapes), found)


def test_moved_values_have_one_scale_in_both_directions() -> None:
    nodes = [
        toys.node("Transpose", "x", "a", perm=[0, 1, 3, 2]),
        toys.node("MaxPool", "a", "b", kernel_shape=[2, 2]),
        toys.node("Exp", "b", "y"),
    ]
    for known in ("x", "a", "b"):
        scales, missing = carried(nodes, ["y"], {known: 0.5})
        assert scales == {"x": 0.5, "a": 0.5, "b": 0.5} and missing == ("y",)


def test_what_vanishes_in_a_kernel_takes_its_output_but_keeps_its_own() -> None:
    nodes = [conv("x", "a", "w"), toys.node("Add", "a bias", "b"), toys.node("Elu", "b", "y")]
    bias = weights(16, 1, 1)
    assert carried(nodes, ["y"], {"y": 0.5}, bias=bias) == ({"a": 0.5, "b": 0.5, "y": 0.5}, ("x",))
    assert carried(nodes, ["y"], {"y": 0.5, "a": 0.1}, bias=bias)[0] == {"a": 0.1, "b": 0.5, "y": 0.5}


def test_ops_that_change_values_carry_nothing() -> None:
    nodes = [toys.node("Exp", "x", "a"), toys.node("GlobalAveragePool", "a", "y")]
    assert carried(nodes, ["y"], {"a": 0.5}) == ({"a": 0.5}, ("x", "y"))


def test_concat_hands_its_scale_to_its_branches_and_relu_takes_its_input() -> None:
    nodes = [toys.node("Relu", "x", "a"), toys.node("Exp", "x", "b"), toys.node("Concat", "a b", "y", axis=1)]
    assert carried(nodes, ["y"], {"y": 0.5}) == ({"a": 0.5, "b": 0.5, "y": 0.5}, ("x",))
    assert carried(nodes, ["y"], {"x": 0.2, "b": 0.1}) == ({"x": 0.2, "a": 0.2, "b": 0.1}, ("y",))
