"""Which scales follow from which, and constants that are only moved."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from helpers.qdq_toys import conv, weights

from onnx_trtcal.graph.groups.fuse import find_groups
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.surgeon import import_graph
from onnx_trtcal.qdq.carry import carry_scales
from onnx_trtcal.qdq.constants import constant_shape, constant_value

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


MOVES = {
    "Identity": ({}, []),
    "Transpose": ({"perm": [2, 0, 1]}, []),
    "Flatten": ({"axis": 2}, []),
    "Reshape": ({}, [np.array([0, -1])]),
    "Squeeze": ({}, [np.array([1])]),
    "Unsqueeze": ({}, [np.array([0, 4])]),
}


@pytest.mark.parametrize("op", MOVES)
def test_moved_constants_are_what_the_runtime_computes(op: str) -> None:
    attributes, parameters = MOVES[op]
    values = np.arange(24, dtype=np.float32).reshape(4, 1, 6)
    constants = {"c": values} | {f"p{index}": value for index, value in enumerate(parameters)}
    node = toys.node(op, list(constants), "y", **attributes)
    model = toys.model([node], {"x": [1]}, ["y"], constants)
    moved = next(node for node in gs.import_onnx(model).nodes if node.op == op).outputs[0]
    wanted = toys.run(model, {"x": np.zeros(1, np.float32)})[0]
    np.testing.assert_array_equal(constant_value(moved), wanted)
    assert constant_shape(moved) == wanted.shape


def test_what_is_computed_is_no_constant() -> None:
    model = toys.model([toys.node("Reshape", "x shape", "y")], {"x": [4]}, ["y"], {"shape": np.array([2, 2])})
    assert constant_value(gs.import_onnx(model).outputs[0]) is None
