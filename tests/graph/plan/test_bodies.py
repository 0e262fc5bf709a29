"""Float tensors inside subgraphs are counted, whatever is known of their types."""

import onnx_graphsurgeon as gs
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.graph.plan.bodies import count_float_tensors, count_function_calls


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


def test_calls_of_the_models_own_functions_are_counted():
    double = helper.make_function(
        "mine", "Double", ["a"], ["b"], [toys.node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
    )
    nodes = [toys.node("Double", "x", "y", domain="mine"), toys.node("Double", "y", "z", domain="other")]
    model = toys.model(nodes, {"x": [4]}, ["z"])
    assert count_function_calls(model) == 0
    model.functions.append(double)
    assert count_function_calls(model) == 1
