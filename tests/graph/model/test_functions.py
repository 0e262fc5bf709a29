"""Functions that a model defines: brought into its graph, with a name for every tensor inside."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import AttributeProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.functions import count_function_calls, inline_functions
from onnx_trtcal.graph.model.load import load


def function(nodes, *, name="Block", opset=17, attributes=(), domain="mine"):
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    return helper.make_function(domain, name, ["a", "k"], ["o"], nodes, imports, attributes=list(attributes))


def calling(functions, calls, **options) -> onnx.ModelProto:
    weights = {"w": np.full((4, 4, 1, 1), 0.25, np.float32)}
    proto = toys.model(calls, {"x": ("N", 4, 5, 5)}, {"y": ("N", 4, 5, 5)}, weights, **options)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    proto.functions.extend(functions)
    return proto


def block(**options):
    return function([toys.node("Conv", "a k", "t"), toys.node("Relu", "t", "o")], **options)


CALLS = [toys.node("Block", "x w", "h", domain="mine"), toys.node("Block", "h w", "y", domain="mine")]
X = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)


def test_calls_are_counted_in_subgraphs_too():
    body = helper.make_graph([CALLS[1]], "body", [], [helper.make_tensor_value_info("y", 1, None)])
    branch = toys.node("If", "flag", "z", then_branch=body, else_branch=body)
    nodes = [CALLS[0], branch, toys.node("Block", "x w", "q", domain="other")]
    model = toys.model(nodes, {"x": [4]}, ["z"])
    assert count_function_calls(model) == 0
    model.functions.append(block())
    assert count_function_calls(model) == 3


def test_every_call_gets_tensors_of_its_own_and_the_main_graph_keeps_its_names():
    proto = calling([block()], CALLS)
    before = proto.SerializeToString()
    inlined = inline_functions(proto)
    assert proto.SerializeToString() == before
    assert [node.op_type for node in inlined.graph.node] == ["Conv", "Relu", "Conv", "Relu"]
    made = [node.output[0] for node in inlined.graph.node]
    assert made[1] == "h" and made[3] == "y" and len(set(made)) == 4
    np.testing.assert_array_equal(toys.run(inlined, {"x": X})[0], toys.run(proto, {"x": X})[0])


def test_nested_functions_attributes_and_a_name_that_is_taken_already():
    leaky = toys.node("LeakyRelu", "u", "o")
    leaky.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    outer = function(
        [toys.node("Block", "a k", "u", domain="mine"), leaky], name="Outer", attributes=["slope"]
    )
    calls = [
        toys.node("Outer", "x w", "t__1", domain="mine", slope=0.5),
        toys.node("Outer", "t__1 w", "y", domain="mine", slope=0.125),
    ]
    proto = calling([block(), outer], calls)
    inlined = inline_functions(proto)
    made = [name for node in inlined.graph.node for name in node.output]
    assert len(made) == len(set(made)) == 6 and not inlined.functions
    np.testing.assert_array_equal(toys.run(inlined, {"x": X})[0], toys.run(proto, {"x": X})[0])


@pytest.mark.parametrize(("inside", "around"), [(13, 18), (17, 21)])
def test_a_function_of_another_opset_is_converted(inside, around):
    proto = calling([block(opset=inside)], CALLS, opset=around, ir_version=10)
    proto.graph.value_info.append(helper.make_tensor_value_info("h", 1, ["N", 4, 5, 5]))
    model = load(proto)
    assert model.inlined == 2 and not model.proto.functions
    assert [value.name for value in model.proto.graph.value_info] == ["h"]
    assert model.proto.graph.initializer == proto.graph.initializer
    np.testing.assert_array_equal(toys.run(model.proto, {"x": X})[0], toys.run(proto, {"x": X})[0])


def test_a_model_without_calls_is_not_touched():
    proto = calling([block()], [toys.node("Relu", "x", "y")])
    assert inline_functions(proto) is proto


def chain(length: int, calls: int) -> onnx.ModelProto:
    """Functions F0 to F(length - 1), each of which calls the next this many times; the last is a Relu."""
    functions = []
    for number in range(length):
        callee, domain = (f"F{number + 1}", "mine") if number + 1 < length else ("Relu", "")
        names = ["a", *(f"t{each}" for each in range(1, calls)), "o"]
        nodes = [
            helper.make_node(callee, [one], [other], domain=domain)
            for one, other in itertools.pairwise(names)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        functions.append(helper.make_function("mine", f"F{number}", ["a"], ["o"], nodes, imports))
    proto = toys.model([toys.node("F0", "x", "y", domain="mine")], {"x": (2,)}, {"y": (2,)})
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    proto.functions.extend(functions)
    return proto


def test_functions_in_functions_are_inlined_however_they_are_ordered():
    proto = chain(20, 1)
    backwards = chain(20, 1)
    del backwards.functions[:]
    backwards.functions.extend(reversed(proto.functions))
    for each in (proto, backwards):
        assert [node.op_type for node in inline_functions(each).graph.node] == ["Relu"]


@pytest.mark.parametrize(
    ("length", "calls", "text"), [(60, 2, "would become more than"), (5000, 1, "over 200 levels")]
)
def test_functions_that_would_exhaust_memory_or_stack_are_refused(length, calls, text):
    with pytest.raises(ModelError, match=text):
        inline_functions(chain(length, calls))


def test_a_function_that_calls_itself_through_others_is_named():
    proto = chain(3, 1)
    proto.functions[2].node[0].op_type, proto.functions[2].node[0].domain = "F1", "mine"
    with pytest.raises(ModelError, match=r"mine::F[12] calls itself"):
        inline_functions(proto)
