"""Links: who makes and who reads a tensor."""

import numpy as np
import onnx_graphsurgeon as gs
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.graph.view import kind, link

W = np.ones((4, 4), np.float32)


def linked(*args, **kwargs):
    return link(gs.import_onnx(toys.model(*args, **kwargs)))


def test_unsorted_nodes_are_numbered_in_an_order_that_can_run():
    nodes = [toys.node("Neg", "b", "c"), toys.node("Abs", "x", "a"), toys.node("Relu", "a", "b")]
    links = linked(nodes, {"x": [1]}, ["c"])
    assert [node.op for node in links.nodes] == ["Abs", "Relu", "Neg"]
    assert links.depth == (1, 2, 3)


def test_a_reader_that_takes_a_tensor_twice_counts_once():
    links = linked([toys.node("Add", "x x", "y"), toys.node("Neg", "y", "z")], {"x": [1]}, ["z"])
    assert links.consumers["x"] == (0,)
    assert links.only_reader("x") == 0


def test_outputs_and_what_subgraphs_read_are_pinned():
    body = helper.make_graph(
        [toys.node("Abs", "y", "inner")],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [
        toys.node("Relu", "x", "y"),
        toys.node("Neg", "y", "n"),
        toys.node("If", "flag", "z", then_branch=body, else_branch=body),
    ]
    links = linked(nodes, {"x": [1], "flag": []}, ["z", "n"], dtypes={"flag": TensorProto.BOOL})
    assert links.pinned == {"y", "z", "n"}
    assert links.only_reader("y") is None
    assert links.depth[links.producer["z"]] == 2


def test_constants_follow_from_constants_but_not_from_random_generators():
    nodes = [
        toys.node("Transpose", "w", "wt"),
        toys.node("Constant", [], "two", value_float=2.0),
        toys.node("Mul", "wt two", "scaled"),
        toys.node("RandomNormal", [], "noise", shape=[4, 4]),
        toys.node("Mul", "scaled noise", "noisy"),
        toys.node("MatMul", "x noisy", "y"),
    ]
    links = linked(nodes, {"x": [1, 4]}, ["y"], {"w": W})
    assert links.constants == {"w", "wt", "two", "scaled"}


def test_constant_shapes_tell_scalars_and_vectors():
    constants = {"one": np.ones((1, 1)), "bias": np.ones((4, 1, 1)), "map": np.ones((4, 4))}
    nodes = [toys.node("Constant", [], "k", value_floats=[1.0, 2.0])]
    nodes += [toys.node("Add", f"x {name}", f"y_{name}") for name in (*constants, "k")]
    values = {name: value.astype(np.float32) for name, value in constants.items()}
    links = linked(nodes, {"x": [4, 4, 4]}, ["y_one"], values)
    assert [links.scalar_constant(name) for name in ("one", "bias", "map", "k", "x")] == [True] + [False] * 4
    assert [links.vector_axis(n) for n in ("one", "bias", "map", "k", "x")] == [None, -3, None, -1, None]


def test_kind_tells_operators_of_other_domains_apart():
    relu, other = gs.Node("Relu"), gs.Node("Relu", domain="com.example")
    assert (kind(relu), kind(other)) == ("Relu", "com.example:Relu")
