"""Whose scale a tensor takes, and which scales follow from which."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from helpers.qdq_toys import conv, weights
from helpers.random_models import random_models
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.fold.fold import fold
from onnx_trtcal.graph.groups.group import find_groups
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.plan.plan import plan
from onnx_trtcal.graph.propagate import ScaleRules, propagate_scales
from onnx_trtcal.graph.view import link

OWN = [
    "Slice",
    "Split",
    "Gather",
    "Pad",
    "Expand",
    "Tile",
    "Resize",
    "AveragePool",
    "GlobalMaxPool",
    "ReduceMax",
]

X = {"x": ["N", 16, 6, 6]}


def carried(nodes: list, outputs: list[str], found: dict[str, float], **constants: np.ndarray) -> tuple:
    model = load(toys.model(nodes, X, outputs, {"w": weights(16, 16, 3, 3), **constants}))
    graph = import_graph(model)
    return propagate_scales(graph, find_groups(graph, model.shapes), found)


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


def tie(op, inputs="x", outputs="y", **attributes):
    constants = {"i": np.array([1]), "t": np.array(True), "f": np.array(False)}
    nodes = [toys.node(op, inputs, outputs, **attributes)]
    names = outputs.split()
    graph = gs.import_onnx(toys.model(nodes, {"x": [1]}, names, constants))
    return ScaleRules(link(graph), Constants(graph), {}).tie(names[-1])


@pytest.mark.parametrize("op", sorted(ops.MOVES))
def test_an_op_that_only_moves_values_ties_its_output_to_its_input(op):
    assert tie(op) == ("x", "tie")


def test_max_pooling_copies_its_inputs_scale():
    assert tie("MaxPool") == ("x", "pool")


@pytest.mark.parametrize("op", OWN)
def test_an_op_that_drops_repeats_or_adds_values_keeps_its_own(op):
    assert tie(op) is None


def test_only_the_first_output_is_tied():
    assert tie("MaxPool", outputs="y indices") is None
    assert tie("Dropout", outputs="y mask") is None


def test_a_dropout_that_may_train_keeps_its_own():
    assert tie("Dropout", ["x", "", "f"]) == ("x", "tie")
    assert tie("Dropout", ["x", "", "t"]) is None
    assert tie("Dropout", ["x", "", "x"]) is None


def test_another_domains_reshape_keeps_its_own():
    assert tie("Reshape", "x i", domain="com.example") is None


def test_graph_inputs_are_tied_to_nothing():
    graph = gs.import_onnx(toys.model([toys.node("Relu", "x", "y")], {"x": [1]}, ["y"]))
    assert ScaleRules(link(graph), Constants(graph), {}).tie("x") is None


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(random_models(), st.sampled_from(["fused", "all"]), st.randoms(use_true_random=False))
def test_a_cache_of_the_observed_tensors_gives_every_tensor_the_scale_of_its_owner(proto, observe, random):
    model = load(proto)
    graph = import_graph(model)
    report = fold(graph)
    planned = plan(model, graph, report.vanished, observe=observe)
    given_scales = {name: random.uniform(0.01, 1) for name in planned.observed}
    groups = find_groups(graph, model.shapes) if observe == "fused" else ()
    scales, missing = propagate_scales(graph, groups, given_scales)
    tensors = graph.tensors()
    wanted = {
        name: given_scales[owner.source]
        for name, owner in planned.owners.items()
        if owner.reason != "constant" and name in tensors
    }
    assert {name: scale for name, scale in scales.items() if name in wanted} == wanted
    assert not set(missing) & set(wanted)
