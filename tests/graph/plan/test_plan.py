"""The plan: what is observed, and who answers for whom."""

import time

import numpy as np
import pytest
from helpers import toys
from helpers.random_models import random_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.errors import OptionError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.plan.plan import Owner, plan

W = np.ones((4, 4, 1, 1), np.float32)
X = {"x": [1, 4, 8, 8]}


def planned(
    nodes, outputs, inputs=X, constants=None, *, vanished=None, observe="fused", tie_concat=False, **kwargs
):
    model = load(toys.model(nodes, inputs, outputs, {"w": W, **(constants or {})}, **kwargs))
    return plan(model, import_graph(model), vanished or {}, observe=observe, tie_concat=tie_concat)


def how(result):
    return {name: (owner.source, owner.reason) for name, owner in result.owners.items()}


def conv(source="x", result="c"):
    return toys.node("Conv", f"{source} w", result)


CHAIN = [
    conv(),
    toys.node("Relu", "c", "r"),
    toys.node("MaxPool", "r", "p", kernel_shape=[2, 2]),
    toys.node("Transpose", "p", "t"),
    toys.node("Flatten", "t", "y"),
]


def test_a_chain_of_ties_ends_at_the_kernels_output():
    result = planned(CHAIN, ["y"])
    assert result.observed == ("x", "r")
    assert list(how(result).items()) == [
        ("x", ("x", "measured")),
        ("c", ("r", "group")),
        ("r", ("r", "measured")),
        ("p", ("r", "pool")),
        ("t", ("r", "tie")),
        ("y", ("r", "tie")),
    ]
    assert result.op_types == {"x": "Input", "r": "Relu"}


def test_observing_all_measures_what_a_kernel_hides_but_never_the_same_values_twice():
    result = planned(CHAIN, ["y"], observe="all")
    assert result.observed == ("x", "c", "r")
    assert how(result)["c"] == ("c", "measured")
    assert how(result)["p"] == ("r", "pool")
    assert [group.output for group in result.groups] == ["r"]


def test_observe_is_one_of_two_words():
    with pytest.raises(OptionError, match="did you mean 'fused'"):
        planned(CHAIN, ["y"], observe="fuse")


def test_answers_come_in_the_order_in_which_the_original_can_run():
    result = planned(CHAIN[::-1], ["y"])
    assert list(result.owners) == ["x", "c", "r", "p", "t", "y"]
    assert result.observed == ("x", "r")


def test_what_folding_removed_is_answered_for_by_what_took_its_place():
    statistics = {name: np.ones(4, np.float32) for name in ("g", "b", "m", "v")}
    nodes = [conv(), toys.node("BatchNormalization", "c g b m v", "n"), toys.node("Relu", "n", "y")]
    model = load(toys.model(nodes, X, ["y"], {"w": W, **statistics}))
    graph = import_graph(model)
    first, relu = graph.nodes[0], graph.nodes[2]
    first.outputs, relu.inputs = [], [graph.nodes[1].outputs[0]]
    graph.nodes[1].inputs, graph.nodes[1].op = list(first.inputs), "Conv"
    del graph.nodes[0]
    result = plan(model, graph, {"c": "n"})
    assert how(result) == {
        "x": ("x", "measured"),
        "c": ("y", "folded"),
        "n": ("y", "group"),
        "y": ("y", "measured"),
    }


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_every_float_type_is_measured(dtype):
    result = planned([toys.node("Identity", "x", "y")], ["y"], dtypes={"x": dtype, "y": dtype})
    assert how(result) == {"x": ("x", "measured"), "y": ("x", "tie")}


def test_other_types_are_skipped_by_name_of_the_type():
    nodes = [
        toys.node("Shape", "x", "s"),
        toys.node("Greater", "x x", "g"),
        toys.node("SequenceConstruct", "x x", "q"),
        toys.node("SequenceAt", "q i", "y"),
        toys.node("Identity", "text", "t"),
    ]
    dtypes = {"i": TensorProto.INT32, "text": TensorProto.STRING, "t": TensorProto.STRING}
    dtypes |= {"s": TensorProto.INT64, "g": TensorProto.BOOL}
    result = planned(nodes, ["y", "s", "g", "t"], {**X, "i": [], "text": [1]}, dtypes=dtypes)
    assert result.skipped == {
        "i": "integer",
        "text": "string",
        "s": "integer",
        "g": "bool",
        "q": "not a tensor",
        "t": "string",
    }
    assert result.observed == ("x", "y")


def test_shape_arithmetic_is_skipped_in_float_too():
    nodes = [
        toys.node("Shape", "x", "s"),
        toys.node("Cast", "s", "f", to=TensorProto.FLOAT),
        toys.node("Mul", "f half", "g"),
        toys.node("Cast", "g", "i", to=TensorProto.INT64),
        toys.node("Resize", ["x", "", "", "i"], "y"),
    ]
    result = planned(nodes, ["y"], constants={"half": np.float32([1, 1, 0.5, 0.5])})
    assert {n: why for n, why in result.skipped.items() if why == "shape arithmetic"} == dict.fromkeys(
        "fg", "shape arithmetic"
    )
    assert result.observed == ("x", "y")


def test_the_mask_of_a_dropout_is_skipped_in_float_too():
    result = planned([toys.node("Dropout", "x", "y mask")], ["y"], opset=7)
    assert result.skipped == {"mask": "mask of a Dropout"}
    assert how(result)["y"] == ("x", "tie")


def test_constants_are_computed_and_stored_ones_skipped():
    nodes = [
        toys.node("Constant", [], "k", value_floats=[-3.0, 2.0]),
        toys.node("Mul", "k k", "square"),
        toys.node("Neg", "mask", "open"),
        toys.node("Add", "x square", "a"),
        toys.node("Add", "a open", "y"),
    ]
    mask = np.array([np.inf, -5], np.float32)
    result = planned(nodes, ["y"], {"x": [2]}, {"mask": mask})
    assert result.constants == {"square": 9.0, "open": 5.0}
    assert result.skipped == {"k": "constant"}
    assert result.owners["square"] == Owner("square", "constant")
    assert result.observed == ("x", "a", "y")


def test_an_initializer_that_is_an_output_is_a_constant():
    result = planned([toys.node("Relu", "x", "y")], ["y", "k"], {"x": [2]}, {"k": np.float32([-7])})
    assert result.owners["k"] == Owner("k", "constant")
    assert result.constants == {"k": 7.0}


def test_random_numbers_are_measured():
    nodes = [toys.node("RandomNormal", [], "n", shape=[2]), toys.node("Add", "x n", "y")]
    assert planned(nodes, ["y"], {"x": [2]}).observed == ("x", "n", "y")


def test_a_quantized_model_says_so_and_its_own_scales_stay():
    nodes = [
        toys.node("Relu", "x", "a"),
        toys.node("QuantizeLinear", "a s z", "q"),
        toys.node("DequantizeLinear", "q s z", "d"),
        toys.node("Neg", "d", "y"),
    ]
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    result = planned(nodes, ["y"], constants=scale)
    assert result.quantized == ("DequantizeLinear", "QuantizeLinear")
    assert result.skipped == {"a": "already quantized", "q": "integer", "d": "already quantized"}
    assert result.observed == ("x", "y")
    assert planned(CHAIN, ["y"]).quantized == ()


def test_what_hides_behind_a_quantized_tensor_is_quantized_with_it():
    nodes = [
        conv(),
        toys.node("Relu", "c", "r"),
        toys.node("QuantizeLinear", "r s z", "q"),
        toys.node("DequantizeLinear", "q s z", "y"),
    ]
    result = planned(nodes, ["y"], constants={"s": np.array(0.1, "f"), "z": np.array(0, np.int8)})
    assert result.skipped["c"] == "already quantized"
    assert result.observed == ("x",)


def test_tensors_that_subgraphs_read_are_observed_and_inner_ones_counted():
    inner = helper.make_graph(
        [toys.node("Abs", "c", "inner")],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [
        conv(),
        toys.node("Relu", "c", "r"),
        toys.node("If", "flag", "z", then_branch=inner, else_branch=inner),
    ]
    result = planned(nodes, ["r", "z"], {**X, "flag": []}, dtypes={"flag": TensorProto.BOOL})
    assert result.observed == ("x", "c", "r", "z")
    assert result.subgraph_tensors == 2
    assert result.skipped == {"flag": "bool"}


CONCAT = [
    toys.node("Relu", "x", "a"),
    toys.node("Neg", "x", "b"),
    toys.node("Concat", "a b", "k", axis=1),
    toys.node("Flatten", "k", "f"),
]


def test_a_concats_branches_are_tied_only_when_asked():
    assert planned(CONCAT, ["f"]).ties == ()
    assert planned(CONCAT, ["f"]).observed == ("x", "a", "b", "k")
    tied = planned(CONCAT, ["f"], tie_concat=True)
    assert tied.ties == (("a", "b"),)
    assert tied.observed == ("x", "a", "b")
    assert how(tied)["k"] == ("a", "concat")
    assert how(tied)["f"] == ("a", "tie")


def test_concats_that_share_a_branch_form_one_set():
    nodes = [
        *CONCAT[:3],
        toys.node("Abs", "x", "d"),
        toys.node("Concat", "b d", "m", axis=1),
        toys.node("Exp", "x", "e"),
    ]
    assert planned(nodes, ["k", "m", "e"], tie_concat=True).ties == (("a", "b", "d"),)


def test_a_concat_with_a_constant_branch_is_measured_itself():
    nodes = [CONCAT[0], toys.node("Concat", "a w", "k", axis=0)]
    result = planned(nodes, ["k"], {"x": [1, 4, 1, 1]}, tie_concat=True)
    assert result.ties == (("a", "k"),)
    assert "k" in result.observed


@pytest.mark.slow
def test_planning_is_linear_in_the_number_of_nodes():
    nodes = []
    for i in range(400):
        nodes += [conv(f"t{i}" if i else "x", f"c{i}"), toys.node("Relu", f"c{i}", f"t{i + 1}")]
        nodes += [toys.node("Identity", f"t{i + 1}", f"i{i}")]
    model = load(toys.model(nodes, X, ["t400"], {"w": W}))
    graph = import_graph(model)
    start = time.process_time()
    result = plan(model, graph, {})
    assert time.process_time() - start < 0.5  # 1200 nodes take 0.03 s on one 2020 core
    assert len(result.owners) == 1201
    assert len(result.observed) == 401


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(random_models(), st.sampled_from(["fused", "all"]), st.booleans())
def test_every_tensor_is_accounted_for_exactly_once(proto, observe, tie_concat):
    model = load(proto)
    before = proto.SerializeToString(deterministic=True)
    result = plan(model, import_graph(model), {}, observe=observe, tie_concat=tie_concat)
    made = {name for node in proto.graph.node for name in node.output} | {"x"}
    assert set(result.owners) | set(result.skipped) == made
    assert not set(result.owners) & set(result.skipped)
    assert set(result.observed) | set(result.constants) == {a.source for a in result.owners.values()}
    assert set(result.op_types) == set(result.observed)
    assert proto.SerializeToString(deterministic=True) == before
    for name, owner in result.owners.items():
        assert (owner.source == name) == (owner.reason in ("measured", "constant"))
    for output in model.outputs:
        if observe == "fused":
            assert result.owners[output].reason != "group"


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(random_models())
def test_a_tied_tensor_has_the_very_values_of_its_source(proto):
    model = load(proto)
    result = plan(model, import_graph(model), {}, observe="all")
    wide = type(proto)()
    wide.CopyFrom(proto)
    del wide.graph.output[:]
    pairs = [(name, a.source) for name, a in result.owners.items() if a.reason == "tie"]
    names = sorted({name for pair in pairs for name in pair} - {"x"})
    if not names:
        return
    wide.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
    values = dict(zip(names, toys.run(wide, {"x": x}), strict=True)) | {"x": x}
    for name, source in pairs:
        if result.owners[name].reason == "tie" and not _pooled(result, proto, name):
            np.testing.assert_array_equal(np.sort(values[name], None), np.sort(values[source], None))


def _pooled(result, proto, name):
    """Whether a max pooling lies between a tensor and its source."""
    makers = {output: node for node in proto.graph.node for output in node.output}
    while name != result.owners[name].source:
        if makers[name].op_type == "MaxPool":
            return True
        name = makers[name].input[0]
    return False


def test_the_model_is_not_changed():
    proto = toys.model(CHAIN, X, ["y"], {"w": W})
    before = proto.SerializeToString(deterministic=True)
    model = load(proto)
    graph = import_graph(model)
    plan(model, graph, {})
    assert proto.SerializeToString(deterministic=True) == before
    assert [node.op for node in graph.nodes] == [node.op_type for node in CHAIN]
    np.testing.assert_array_equal(numpy_helper.to_array(proto.graph.initializer[0]), W)
