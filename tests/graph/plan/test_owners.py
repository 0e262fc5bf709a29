"""Owners: which tensors Concats tie."""

import onnx_graphsurgeon as gs
from helpers import toys

from onnx_trtcal.graph.plan.owners import concat_branches
from onnx_trtcal.graph.view import link


def test_concats_are_listed_with_their_branches():
    nodes = [toys.node("Concat", "a b", "y", axis=0), toys.node("Concat", "y x", "z", axis=0)]
    nodes += [toys.node("Relu", "x", "a"), toys.node("Neg", "x", "b")]
    links = link(gs.import_onnx(toys.model(nodes, {"x": [1]}, ["z"])))
    assert concat_branches(links) == [("y", ("a", "b")), ("z", ("y", "x"))]
