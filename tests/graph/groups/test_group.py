"""Groups: what TensorRT runs as one kernel, rule by rule."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from onnx import TensorProto, helper

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.groups.group import find_groups

W = np.ones((4, 4, 1, 1), np.float32)
B = np.ones((1, 4, 1, 1), np.float32)
M = np.ones((4, 4), np.float32)
X = {"x": [1, 4, 8, 8]}


def groups(nodes, outputs, inputs=X, constants=None, **kwargs):
    model = toys.model(nodes, inputs, outputs, {"w": W, "b": B, "m": M, **(constants or {})}, **kwargs)
    return find_groups(gs.import_onnx(model))


def conv(source="x", result="c"):
    return toys.node("Conv", f"{source} w", result)


def test_a_convolution_alone_is_a_group():
    (group,) = groups([conv()], ["c"])
    assert (group.anchor, group.op, group.nodes, group.inner, group.output) == ("c", "Conv", ("c",), (), "c")


def test_bias_residual_and_activation_join_the_kernel_in_this_order():
    nodes = [
        conv(),
        toys.node("Add", "c b", "biased"),
        toys.node("Add", "biased x", "sum"),
        toys.node("Relu", "sum", "y"),
    ]
    (group,) = groups(nodes, ["y"])
    assert group.nodes == ("c", "biased", "sum", "y")
    assert group.inner == ("c", "biased", "sum")
    assert (group.output, group.residual) == ("y", "x")


@pytest.mark.parametrize("op", ["Gemm", "MatMul", "ConvTranspose", "Conv"])
def test_every_weighted_op_takes_a_relu(op):
    matrix = op in ("Gemm", "MatMul")
    nodes = [toys.node(op, "x m" if matrix else "x w", "c"), toys.node("Relu", "c", "y")]
    (group,) = groups(nodes, ["y"], {"x": [2, 4]} if matrix else X)
    assert (group.op, group.inner, group.output) == (op, ("c",), "y")


@pytest.mark.parametrize("op", sorted(name for name in ops.ACTIVATIONS if ":" not in name))
def test_an_activation_joins_when_its_table_entry_says_so(op):
    inputs = "c slope" if op == "PRelu" else "c"
    (group,) = groups([conv(), toys.node(op, inputs, "y")], ["y"], constants={"slope": np.float32([0.1])})
    assert group.output == ("y" if ops.ACTIVATIONS[op].fuses else "c")


def test_clip_joins_with_constant_bounds_only():
    six = {"lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}
    constant = groups([conv(), toys.node("Clip", "c lo hi", "y")], ["y"], constants=six)
    only_upper = groups([conv(), toys.node("Clip", ["c", "", "hi"], "y")], ["y"], constants=six)
    fed = groups([conv(), toys.node("Clip", "c lo hi", "y")], ["y"], {**X, "lo": [], "hi": []})
    assert [found[0].output for found in (constant, only_upper, fed)] == ["y", "y", "c"]


def test_another_domains_relu_is_another_op():
    (group,) = groups([conv(), toys.node("Relu", "c", "y", domain="com.example")], ["y"])
    assert group.output == "c"


def test_a_second_reader_ends_the_group():
    (group,) = groups([conv(), toys.node("Relu", "c", "y"), toys.node("Exp", "c", "z")], ["y", "z"])
    assert group.output == "c"


def test_a_graph_output_ends_the_group():
    (group,) = groups([conv(), toys.node("Relu", "c", "y")], ["c", "y"])
    assert group.output == "c"


def test_a_tensor_that_a_subgraph_reads_ends_the_group():
    body = helper.make_graph(
        [toys.node("Abs", "c", "inner")],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [
        conv(),
        toys.node("Relu", "c", "y"),
        toys.node("If", "flag", "z", then_branch=body, else_branch=body),
    ]
    (group,) = groups(nodes, ["y", "z"], {**X, "flag": []}, dtypes={"flag": TensorProto.BOOL})
    assert group.output == "c"


def test_the_convolution_at_the_end_of_the_longer_path_takes_the_add():
    main = [conv("x", "a"), toys.node("Relu", "a", "r"), conv("r", "main")]
    for order in ("main skip", "skip main"):
        nodes = [*main, conv("x", "skip"), toys.node("Add", order, "sum"), toys.node("Relu", "sum", "y")]
        found = {group.anchor: group for group in groups(nodes, ["y"])}
        assert (found["main"].output, found["main"].residual) == ("y", "skip")
        assert (found["skip"].output, found["skip"].residual) == ("skip", None)


def test_equally_long_paths_give_the_add_to_its_second_input():
    nodes = [conv("x", "a"), conv("x", "b2"), toys.node("Add", "a b2", "y")]
    found = {group.anchor: group for group in groups(nodes, ["y"])}
    assert (found["b2"].output, found["b2"].residual, found["a"].output) == ("y", "a", "a")


def test_adding_a_tensor_to_itself_is_no_residual():
    (group,) = groups([conv(), toys.node("Add", "c c", "y")], ["y"])
    assert (group.output, group.residual) == ("c", None)


def test_a_broadcasting_add_is_no_residual():
    nodes = [conv(), toys.node("Add", "c gate", "y")]
    for shape, output in (([1, 4, 1, 1], "c"), ([1, 4, "h", 8], "c"), ([4, 8, 8], "c"), ([1, 4, 8, 8], "y")):
        model = toys.model(nodes, {**X, "gate": shape}, ["y"], {"w": W})
        shapes = {"c": (1, 4, 1 if shape[2] == "h" else 8, 8), "gate": tuple(shape)}
        (group,) = find_groups(gs.import_onnx(model), shapes)
        assert group.output == output, shape


def test_an_add_of_a_whole_constant_map_is_neither_bias_nor_residual():
    (group,) = groups(
        [conv(), toys.node("Add", "c map", "y")], ["y"], constants={"map": np.ones((8, 8), "f")}
    )
    assert group.output == "c"


@pytest.mark.parametrize(
    ("op", "shape", "joins"),
    [
        ("Conv", (4, 1, 1), True),
        ("Conv", (8, 1), False),
        ("Conv", (8,), False),
        ("ConvTranspose", (1, 4, 1, 1), True),
        ("Gemm", (4,), True),
        ("Gemm", (4, 1), False),
        ("MatMul", (1, 4), True),
        ("MatMul", (4, 1), False),
        ("MatMul from the left", (4, 1), True),
        ("MatMul from the left", (4,), False),
    ],
)
def test_a_bias_lies_along_the_channels(op, shape, joins):
    matrix = op in ("Gemm", "MatMul", "MatMul from the left")
    inputs = {"Gemm": "x m", "MatMul": "x m", "MatMul from the left": "m x"}.get(op, "x w")
    nodes = [toys.node(op.split()[0], inputs, "c"), toys.node("Add", "c k", "y")]
    shapes = {"x": [4, 4]} if matrix else X
    (group,) = groups(nodes, ["y"], shapes, {"k": np.ones(shape, np.float32)})
    assert group.output == ("y" if joins else "c")


def test_a_single_value_added_is_no_bias():
    nodes = [conv(), toys.node("Add", "c three", "a"), toys.node("Clip", "a zero six", "y")]
    constants = {"three": np.array(3, "f"), "zero": np.array(0, "f"), "six": np.array(6, "f")}
    (group,) = groups(nodes, ["y"], constants=constants)
    assert group.output == "c"


def test_an_activation_before_the_add_ends_the_group():
    nodes = [conv(), toys.node("Relu", "c", "r"), toys.node("Add", "r x", "y")]
    (group,) = groups(nodes, ["y"])
    assert (group.output, group.residual) == ("r", None)


def test_a_product_of_two_activations_takes_nothing_with_it():
    nodes = [toys.node("MatMul", "x y", "c"), toys.node("Relu", "c", "z")]
    (group,) = groups(nodes, ["z"], {"x": [4, 4], "y": [4, 4]})
    assert (group.output, group.op) == ("c", "MatMul")


def test_weights_may_be_computed_from_constants():
    nodes = [
        toys.node("Transpose", "m", "mt"),
        toys.node("MatMul", "mt x", "c"),
        toys.node("Relu", "c", "y"),
    ]
    (group,) = groups(nodes, ["y"], {"x": [4, 4]})
    assert group.output == "y"


def test_a_batchnorm_that_was_not_folded_joins_unless_it_trains_or_is_fed():
    statistics = {name: np.ones(4, np.float32) for name in ("g", "beta", "mean", "var")}
    bn = toys.node("BatchNormalization", "c g beta mean var", "n")
    nodes = [conv(), bn, toys.node("Relu", "n", "y")]
    assert groups(nodes, ["y"], constants=statistics)[0].inner == ("c", "n")
    fed = {name: value for name, value in statistics.items() if name != "g"}
    assert groups(nodes, ["y"], {**X, "g": [4]}, fed)[0].output == "c"
    training = toys.node("BatchNormalization", "c g beta mean var", "n m2 v2", training_mode=1)
    assert groups([conv(), training], ["n"], constants=statistics)[0].output == "c"


def test_nodes_in_any_order_give_the_same_groups():
    nodes = [conv(), toys.node("Add", "c x", "sum"), toys.node("Relu", "sum", "y"), conv("y", "d")]
    assert groups(nodes, ["d"]) == groups(nodes[::-1], ["d"])
