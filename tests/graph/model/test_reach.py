"""How far a model runs: up to plugins, up to --until; what lies behind, and whether INT8 could profit there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import helper

from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.reach import behind, beyond_int8, label, plugins, restricted

W = np.ones((4, 4, 1, 1), np.float32)


def detector(op="BoxFilter", domain="acme") -> onnx.ModelProto:
    """Conv, Relu and a head; behind it a plugin of two outputs, one of which a Mul reads."""
    nodes = [
        toys.node("Conv", "x w", "c", name="stem"),
        toys.node("Relu", "c", "r"),
        toys.node("Sigmoid", "r", "s"),
        toys.node(op, "r s", "kept score", domain=domain, name="filter"),
        toys.node("Mul", "score two", "y"),
    ]
    proto = toys.model(nodes, {"x": ("N", 4, 6, 6)}, ["kept", "y"], {"w": W, "two": np.float32(2)})
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto


def between() -> onnx.ModelProto:
    """A plugin between two convolutions, beside which a branch goes from the first on."""
    nodes = [
        toys.node("Conv", "x w", "a"),
        toys.node("Warp", "a", "p", domain="acme"),
        toys.node("Neg", "p", "n"),
        toys.node("Conv", "n w", "b"),
        toys.node("Relu", "b", "y"),
        toys.node("Warp", "y", "q", domain="acme"),
        toys.node("Tanh", "a", "t"),
    ]
    proto = toys.model(nodes, {"x": (1, 4, 6, 6)}, ["q", "t"], {"w": W})
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    return proto


@pytest.mark.parametrize(
    ("op", "domain", "found"),
    [
        ("BoxFilter", "acme", True),
        ("BatchedNMSDynamic_TRT", "", True),
        ("EfficientNMS_TRT", "TRT", True),
        ("Add", "", False),
        ("Gelu", "com.microsoft", False),
        ("Normalizer", "ai.onnx.ml", False),
    ],
)
def test_a_plugin_is_what_neither_onnx_nor_onnx_runtime_defines(op, domain, found):
    assert bool(plugins(detector(op, domain))) == found


def test_a_call_of_a_function_is_no_plugin_but_one_in_a_subgraph_is():
    proto = detector("Double", "mine")
    double = helper.make_function("mine", "Double", ["a"], ["b"], [], [helper.make_opsetid("", 17)])
    proto.functions.append(double)
    assert not plugins(proto)
    body = helper.make_graph(
        [toys.node("Odd", "x", "o", domain="acme")], "b", [], [helper.make_tensor_value_info("o", 1, None)]
    )
    nodes = [toys.node("If", "flag", "y", then_branch=body, else_branch=body)]
    proto = toys.model(nodes, {"x": (1,)}, ["y"], {"flag": np.array(True)})
    ((node, culprit),) = plugins(proto)
    assert (node.op_type, culprit.op_type) == ("If", "Odd")


def test_unnamed_nodes_are_called_by_their_outputs():
    assert [label(node) for node in detector().graph.node] == ["stem", "r", "s", "filter", "y"]


def test_what_lies_behind():
    assert behind(detector(), {"kept": "it"}) == dict.fromkeys(("kept", "score", "y"), "it")
    assert behind(detector(), {}) == {}


def test_behind_a_last_plugin_nothing_needs_a_scale():
    assert set(beyond_int8(detector())) == {"kept", "score", "y"}
    # Before the second convolution, in it, and behind it; only what lies behind no layer at all is left out.
    assert set(beyond_int8(between())) == set()


def test_the_part_before_the_plugin_ends_at_what_the_rest_reads():
    model = load(detector())
    part, beyond = restricted(model, (), {"kept": "'filter' (acme:BoxFilter)"})
    assert [node.op_type for node in part.proto.graph.node] == ["Conv", "Relu", "Sigmoid"]
    assert part.outputs == ("r", "s") == tuple(value.name for value in part.proto.graph.output)
    assert set(beyond) == {"kept", "score", "y"} and "'filter' (acme:BoxFilter)" in beyond["y"]
    assert [tensor.name for tensor in part.proto.graph.initializer] == ["w"]
    assert part.sha256 == model.sha256 and model.proto == detector()
    part, _ = restricted(load(between()), (), {"p": "p", "q": "q"})
    assert part.outputs == ("t", "a")


def test_until_keeps_what_its_tensors_depend_on():
    part, beyond = restricted(load(between()), ("a",), {})
    assert part.outputs == ("a",) and [node.op_type for node in part.proto.graph.node] == ["Conv"]
    assert set(beyond) == {"p", "n", "b", "y", "q", "t"}


def test_until_must_name_what_can_be_reached():
    model = load(between())
    with pytest.raises(OptionError, match=r"'x' names no tensor that a node"):
        restricted(model, ("x",), {})
    with pytest.raises(ModelError, match=r"'y' lies behind 'plug'"):
        restricted(model, ("y",), {"p": "'plug'"})


def test_types_behind_a_plugin_are_those_of_what_it_reads():
    types = load(between()).elem_types
    assert {types[name] for name in "apnbyqt"} == {onnx.TensorProto.FLOAT}
    half = toys.model(
        [
            toys.node("Warp", "x", "p", domain="acme"),
            toys.node("Relu", "p", "r"),
            toys.node("Relu", "r", "y"),
        ],
        {"x": (1, 4)},
        ["y"],
        dtypes={"x": onnx.TensorProto.FLOAT16, "y": onnx.TensorProto.FLOAT16},
    )
    assert load(half).elem_types["r"] == onnx.TensorProto.FLOAT16
