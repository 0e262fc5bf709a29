"""Shape arithmetic, which only says how large or where, and float tensors that subgraphs hide."""

import numpy as np
import onnx_graphsurgeon as gs
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.graph.plan.scope import count_float_tensors, shape_tensors
from onnx_trtcal.graph.view import link

INT64 = TensorProto.INT64
CONSTANTS = {"two": np.array(2), "half": np.float32([1, 1, 0.5, 0.5]), "start": np.array([0])}


def shapes(nodes, outputs, inputs=None):
    graph = gs.import_onnx(toys.model(nodes, inputs or {"x": [1, 1, 4, 4]}, outputs, CONSTANTS))
    return shape_tensors(link(graph))


def test_float_sizes_of_a_resize_are_shape_arithmetic():
    nodes = [
        toys.node("Shape", "x", "s"),
        toys.node("Cast", "s", "f", to=TensorProto.FLOAT),
        toys.node("Mul", "f half", "g"),
        toys.node("Floor", "g", "h"),
        toys.node("Cast", "h", "i", to=INT64),
        toys.node("Resize", ["x", "", "", "i"], "y"),
    ]
    assert shapes(nodes, ["y"]) == {"s", "f", "g", "h", "i"}


def test_a_computed_scale_is_shape_arithmetic():
    nodes = [toys.node("Mul", "half half", "q"), toys.node("Resize", ["x", "", "q"], "y")]
    assert shapes(nodes, ["y"]) == {"q"}


def test_a_size_that_is_also_a_value_is_none():
    nodes = [
        toys.node("Shape", "x", "s"),
        toys.node("Cast", "s", "f", to=TensorProto.FLOAT),
        toys.node("Mul", "x f", "y"),
        toys.node("Resize", ["x", "", "f"], "z"),
    ]
    assert shapes(nodes, ["y", "z"]) == frozenset()


def test_a_size_that_is_a_graph_output_is_none():
    nodes = [toys.node("Mul", "half half", "q"), toys.node("Resize", ["x", "", "q"], "y")]
    assert shapes(nodes, ["y", "q"]) == frozenset()


def test_values_are_not_shape_arithmetic_because_their_shape_is_read():
    nodes = [
        toys.node("Relu", "x", "r"),
        toys.node("Shape", "r", "s"),
        toys.node("Reshape", "r s", "y"),
    ]
    assert shapes(nodes, ["y"]) == {"s"}


def test_what_only_a_shape_node_reads_is_measured_like_any_value():
    nodes = [toys.node("Relu", "x", "r"), toys.node("Shape", "r", "s"), toys.node("Expand", "x s", "y")]
    assert "r" not in shapes(nodes, ["y"])


def test_indices_of_a_gather_are_no_shapes():
    nodes = [toys.node("Cast", "x", "i", to=INT64), toys.node("Gather", "x i", "y")]
    assert shapes(nodes, ["y"]) == frozenset()


def test_a_tensor_nobody_reads_is_none():
    assert shapes([toys.node("Relu", "x", "r"), toys.node("Neg", "x", "y")], ["y"]) == frozenset()


def test_an_activation_whose_maximum_decides_a_size_stays_one():
    nodes = [
        toys.node("Exp", "x", "e"),
        toys.node("ReduceMax", "e", "m", keepdims=0),
        toys.node("Cast", "m", "i", to=INT64),
        toys.node("Unsqueeze", "i zero", "u"),
        toys.node("Expand", "half u", "y"),
    ]
    assert shapes(nodes, ["y"]) == {"m", "i", "u"}


def body(nodes, output, name="body"):
    value = helper.make_tensor_value_info(output, TensorProto.UNDEFINED, None)
    return helper.make_graph(nodes, name, [], [value])


def count(then, otherwise):
    node = toys.node("If", "flag", "y", then_branch=then, else_branch=otherwise)
    model = toys.model([node], {"x": [4], "flag": []}, ["y"], dtypes={"flag": TensorProto.BOOL})
    return count_float_tensors(gs.import_onnx(model), {"x": TensorProto.FLOAT, "flag": TensorProto.BOOL})


def test_floats_are_counted_and_other_types_are_not():
    then = body(
        [
            toys.node("Relu", "x", "a"),
            toys.node("Shape", "a", "s"),
            toys.node("Cast", "s", "f", to=TensorProto.FLOAT),
            toys.node("Cast", "a", "i", to=TensorProto.INT64),
            toys.node("Mul", "i i", "j"),
            toys.node("Greater", "a x", "g"),
            toys.node("Constant", [], "k", value_float=1.0),
            toys.node("Mul", "f k", "m"),
        ],
        "m",
    )
    assert count(then, body([toys.node("Identity", "x", "z")], "z")) == len(["a", "f", "m", "z"])


def test_nested_subgraphs_count_too():
    inner = body([toys.node("Neg", "x", "n")], "n", "inner")
    outer = body([toys.node("If", "flag", "r", then_branch=inner, else_branch=inner)], "r")
    plain = body([toys.node("Constant", [], "c", value_float=1.0)], "c")
    assert count(outer, plain) == len(["n", "n"]) + len(["r"])


def test_a_graph_without_subgraphs_has_none():
    model = toys.model([toys.node("Relu", "x", "y")], {"x": [1]}, ["y"])
    assert count_float_tensors(gs.import_onnx(model), {}) == 0
