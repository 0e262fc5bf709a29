"""Ties: whose scale a tensor takes."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from helpers import toys

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.plan.ties import concat_branches, tied_to
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


def tie(op, inputs="x", outputs="y", **attributes):
    constants = {"i": np.array([1]), "t": np.array(True), "f": np.array(False)}
    nodes = [toys.node(op, inputs, outputs, **attributes)]
    names = outputs.split()
    graph = gs.import_onnx(toys.model(nodes, {"x": [1]}, names, constants))
    return tied_to(link(graph), Constants(graph), names[-1])


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
    assert tied_to(link(graph), Constants(graph), "x") is None


def test_concats_are_listed_with_their_branches():
    nodes = [toys.node("Concat", "a b", "y", axis=0), toys.node("Concat", "y x", "z", axis=0)]
    nodes += [toys.node("Relu", "x", "a"), toys.node("Neg", "x", "b")]
    links = link(gs.import_onnx(toys.model(nodes, {"x": [1]}, ["z"])))
    assert concat_branches(links) == [("y", ("a", "b")), ("z", ("y", "x"))]
