"""Models whose nodes are not what their operators are defined as, and other models that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import AttributeProto, TensorProto, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.signatures import check_signatures
from onnx_trtcal.quantization import lint

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHT = {"w": np.ones((3, 2, 3, 3), np.float32)}


def network() -> onnx.ModelProto:
    nodes = [toys.node("Conv", "x w", "c"), toys.node("Transpose", "c", "y", perm=[0, 1, 2, 3])]
    return toys.model(nodes, {"x": ["n", 2, 8, 8]}, {"y": ["n", 3, 6, 6]}, WEIGHT)


def lose_input(model: onnx.ModelProto) -> None:
    del model.graph.node[0].input[1]


def lose_name(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = ""


def lose_output(model: onnx.ModelProto) -> None:
    del model.graph.node[1].output[:]


def other_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].CopyFrom(helper.make_attribute("perm", 1.5))


def no_type(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].type = AttributeProto.UNDEFINED


def lose_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Cast"


def other_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = 99


def in_a_subgraph(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([helper.make_node("Relu", [], ["r"])], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


def in_a_function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("d", "F", ["a"], ["b"], [helper.make_node("Add", ["a"], ["b"])], opset)
    )


def made_twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "c"


def made_as_an_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "x"


def made_as_a_weight(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "w"


FAULTS = [
    *(made_twice, made_as_an_input, made_as_a_weight),
    *(lose_input, lose_name, lose_output, other_attribute, no_type, lose_attribute),
    *(other_type, in_a_subgraph, in_a_function),
]


@pytest.mark.parametrize("spoil", FAULTS)
def test_a_node_that_cannot_be_is_refused_by_every_reader(spoil: Callable[[onnx.ModelProto], None]) -> None:
    model = network()
    check_signatures(model, "m")
    spoil(model)
    for read in (load, lint):
        with pytest.raises(ModelError) as refusal:
            read(model)
        assert refusal.value.where and refusal.value.fix


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Anything", [], ["c"]),
        helper.make_node("Anything", ["x"], ["c"], domain="plugins", a=1),
        helper.make_node("Clip", ["x", "", "x"], ["c"]),
        helper.make_node("Relu", ["x"], ["c"], exporter_note="kept"),
        helper.make_node("QuantizeLinear", ["x"], ["c"]),
    ],
)
@pytest.mark.parametrize("opset", [1, 17, 2**40, 0])
def test_what_onnx_does_not_define_or_leaves_open_is_left_alone(node: onnx.NodeProto, opset: int) -> None:
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])
    model = helper.make_model(graph)
    model.opset_import[0].version = opset
    check_signatures(model, "m")


@pytest.mark.parametrize("calls", [("F",), ("F", "G"), ("missing",)])
def test_functions_that_call_themselves_or_nothing(calls: tuple[str, ...]) -> None:
    model = network()
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    for name, callee in zip(calls, (*calls[1:], calls[0]), strict=True):
        node = helper.make_node(callee, ["a"], ["b"], domain="d")
        model.functions.append(
            helper.make_function("d", name.replace("missing", "F"), ["a"], ["b"], [node], opset)
        )
    model.opset_import.append(helper.make_opsetid("d", 1))
    model.graph.node[1].CopyFrom(helper.make_node("F", ["c"], ["y"], domain="d"))
    if calls == ("missing",):
        load(model)  # an operator that nobody defines is a custom one
        return
    with pytest.raises(ModelError):
        load(model)
