"""Expected Q/DQ positions, in the words of the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.qdq_toys import conv, pairs, placed, pool_branch, weights

from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.placement import Read

if TYPE_CHECKING:
    import onnx

X = {"x": ["N", 16, 8, 8]}


def batchnorm(data: str, out: str) -> tuple[object, dict[str, np.ndarray]]:
    names = [f"{out}_{part}" for part in ("gamma", "beta", "mean", "var")]
    values = dict.fromkeys(names[:3], np.full(16, 0.5, np.float32)) | {names[3]: np.ones(16, np.float32)}
    return toys.node("BatchNormalization", [data, *names], out), values


def basic_block(*, downsample: bool) -> object:
    """ResNet: x -> conv bn relu conv bn, added to x or to a projection of x, then relu and the next conv."""
    bn1, values1 = batchnorm("a", "a_bn")
    bn2, values2 = batchnorm("c", "c_bn")
    nodes = [conv("x", "a", "w1"), bn1, toys.node("Relu", "a_bn", "b"), conv("b", "c", "w2"), bn2]
    skip = "x"
    if downsample:
        nodes.append(conv("x", "skip", "w3", kernel=1))
        skip = "skip"
    nodes += [toys.node("Add", f"c_bn {skip}", "sum"), toys.node("Relu", "sum", "y"), conv("y", "z", "w4")]
    constants = {"w1": weights(16, 16, 3, 3), "w2": weights(16, 16, 3, 3), "w4": weights(16, 16, 3, 3)}
    if downsample:
        constants["w3"] = weights(16, 16, 1, 1)
    return toys.model(nodes, X, ["z"], {**constants, **values1, **values2})


def test_residual_block_quantizes_the_skip_input_not_the_conv_side() -> None:
    placement = placed(basic_block(downsample=False))
    # The block's input has one pair, shared by the first Conv and by the Add's skip input.
    assert pairs(placement) == {"x": [("a_bn", 0), ("sum", 1)], "b": [("c_bn", 0)], "y": [("z", 0)]}
    assert placement.quantized == ("a_bn", "c_bn", "z")
    assert placement.left == {}


def test_what_was_never_seen_gets_no_pair_and_says_so() -> None:
    model = basic_block(downsample=True)
    tensors = frozenset({"x", "a", "b", "c", "skip", "sum", "y", "z", "a_bn", "c_bn"})
    placement = placed(model, available=tensors, unseen={"b", "skip"})
    assert placement.left == {"c_bn": "the range of its input 'b' was never seen"}
    assert "b" not in pairs(placement) and "skip" not in pairs(placement)
    lacking = placed(model, available=tensors - {"b"})
    assert lacking.left == {"c_bn": "no scale for its input 'b'"}


def test_an_unseen_skip_leaves_the_convolution_in_int8() -> None:
    placement = placed(basic_block(downsample=True), unseen={"skip"})
    assert placement.float_skips == {"sum": "the range of its skip input 'skip' was never seen"}
    assert "c_bn" in placement.quantized


def test_residual_block_with_downsample_quantizes_the_projection_it_adds() -> None:
    placement = placed(basic_block(downsample=True))
    # The longer path is the conv side; the projection is the skip, and it alone is quantized before the Add.
    assert pairs(placement) == {
        "x": [("a_bn", 0), ("skip", 0)],
        "b": [("c_bn", 0)],
        "skip": [("sum", 1)],
        "y": [("z", 0)],
    }


def test_conv_bn_silu_has_no_pair_inside() -> None:
    bn, values = batchnorm("a", "a_bn")
    nodes = [
        conv("x", "a", "w1"),
        bn,
        toys.node("Sigmoid", "a_bn", "s"),
        toys.node("Mul", "a_bn s", "silu"),
        conv("silu", "y", "w2"),
    ]
    model = toys.model(nodes, X, ["y"], {"w1": weights(16, 16, 3, 3), "w2": weights(16, 16, 3, 3), **values})
    assert pairs(placed(model)) == {"x": [("a_bn", 0)], "silu": [("y", 0)]}


def test_conv_act_maxpool_has_its_pair_behind_the_pool() -> None:
    nodes = [
        conv("x", "a", "w1"),
        toys.node("Relu", "a", "b"),
        toys.node("MaxPool", "b", "p", kernel_shape=[2, 2], strides=[2, 2]),
        conv("p", "y", "w2"),
    ]
    model = toys.model(nodes, X, ["y"], {"w1": weights(16, 16, 3, 3), "w2": weights(16, 16, 3, 3)})
    # MaxPool commutes: nothing before it, and the pair is on the tensor the next Conv reads.
    assert pairs(placed(model)) == {"x": [("a", 0)], "p": [("y", 0)]}


def test_one_pair_serves_a_tensor_and_what_only_moves_its_values() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
        conv("p", "b", "w"),
    ]
    model = toys.model(nodes, X, ["a", "b"], {"w": weights(16, 16, 3, 3)})
    # MaxPool reads the pair on x, and gets none of its own.
    assert pairs(placed(model)) == {"x": [("a", 0), ("p", 0)]}


def test_what_only_moves_values_reads_the_pair_for_the_op_behind_it() -> None:
    placement = placed(pool_branch())
    assert pairs(placement) == {"x": [("a", 0)], "ar": [("b1", 0), ("mp", 0)]}
    assert placement.lifted == {"mp": (Read("b2", 0),)}


def test_an_excluded_pool_reads_floats_and_is_quantized_behind() -> None:
    placement = placed(pool_branch(), QdqOptions(exclude=("pool",)))
    assert pairs(placement) == {"x": [("a", 0)], "ar": [("b1", 0)], "mp": [("b2", 0)]}
    assert placement.lifted == {} and placement.unmatched == ()


def test_moved_tensor_that_is_also_read_in_float_keeps_its_own_pair() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
        conv("p", "b", "w"),
        toys.node("Softmax", "p", "e"),
    ]
    model = toys.model(nodes, X, ["a", "b", "e"], {"w": weights(16, 16, 3, 3)})
    assert pairs(placed(model)) == {"x": [("a", 0)], "p": [("b", 0)]}


@pytest.mark.parametrize(("op", "shared"), [("Exp", True), ("Softmax", False), ("MaxPool", False)])
def test_a_pointwise_reader_takes_the_pair_that_a_layer_has(op: str, shared: bool) -> None:
    attributes = {"kernel_shape": [1, 1]} if op == "MaxPool" else {}
    nodes = [conv("x", "a", "w"), toys.node(op, "x", "e", **attributes)]
    placement = placed(toys.model(nodes, X, ["a", "e"], {"w": weights(16, 16, 3, 3)}))
    assert pairs(placement) == {"x": [("a", 0), ("e", 0)] if shared else [("a", 0)]}


def test_no_reader_takes_a_pair_where_another_needs_the_float_tensor_anyway() -> None:
    nodes = [
        conv("x", "a", "w"),
        conv("a", "b", "w"),
        toys.node("Exp", "a", "e"),
        toys.node("Softmax", "a", "s"),
    ]
    constants = {"w": weights(16, 16, 3, 3)}
    assert pairs(placed(toys.model(nodes, X, ["b", "e", "s"], constants)))["a"] == [("b", 0)]
    assert pairs(placed(toys.model(nodes[:3], X, ["a", "b", "e"], constants)))["a"] == [("b", 0)]
    assert pairs(placed(toys.model(nodes[:3], X, ["b", "e"], constants)))["a"] == [("b", 0), ("e", 0)]


def test_an_excluded_reader_reads_floats() -> None:
    nodes = [conv("x", "a", "w"), toys.node("Exp", "x", "e")]
    model = toys.model(nodes, X, ["a", "e"], {"w": weights(16, 16, 3, 3)})
    assert pairs(placed(model, QdqOptions(exclude=("Exp",)))) == {"x": [("a", 0)]}


def pooled_beside_a_layer(*after: object) -> object:
    nodes = [
        conv("x", "a", "w"),
        conv("a", "b", "w"),
        toys.node("AveragePool", "a", "p", kernel_shape=[4, 4], strides=[4, 4]),
        *after,
    ]
    return toys.model(nodes, X, ["b", "y"], {"w": weights(16, 16, 3, 3)})


def test_an_average_pool_of_what_is_int8_for_all_others_has_pairs_around_it() -> None:
    model = pooled_beside_a_layer(toys.node("Softmax", "p", "y"))
    assert pairs(placed(model)) == {"x": [("a", 0)], "a": [("b", 0), ("p", 0)], "p": [("y", 0)]}


def test_an_average_pool_that_is_joined_and_read_besides_has_none_behind_it() -> None:
    after = [
        toys.node("Softmax", "p", "s"),
        toys.node("Concat", "p s", "y", axis=1),
    ]
    assert "p" not in pairs(placed(pooled_beside_a_layer(*after)))


def test_conv_transpose_with_residual_quantizes_the_skip() -> None:
    nodes = [
        conv("x", "s", "w1"),
        toys.node("ConvTranspose", "x w2", "u", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        toys.node("Add", "u x", "sum"),
    ]
    model = toys.model(nodes, X, ["s", "sum"], {"w1": weights(16, 16, 3, 3), "w2": weights(16, 16, 3, 3)})
    placement = placed(model)
    assert pairs(placement) == {"x": [("s", 0), ("u", 0), ("sum", 1)]}
    assert {weight.tensor: weight.axis for weight in placement.weights} == {"w1": 0, "w2": 1}


@pytest.mark.parametrize(
    ("target", "plain", "grouped"),
    [("tensorrt", True, False), ("tensorrt10", True, True), ("rtx", False, False)],
)
def test_conv_transpose_by_target(target: str, plain: bool, grouped: bool) -> None:
    nodes = [
        toys.node("ConvTranspose", "x w", "u", kernel_shape=[2, 2], strides=[2, 2]),
        toys.node("ConvTranspose", "x w_grouped", "v", kernel_shape=[2, 2], strides=[2, 2], group=4),
    ]
    constants = {"w": weights(16, 12, 2, 2), "w_grouped": weights(16, 5, 2, 2)}
    placement = placed(toys.model(nodes, X, ["u", "v"], constants), QdqOptions(target=target))
    assert placement.quantized == (("u",) if plain else ()) + (("v",) if grouped else ())
    assert all("ConvTranspose" in reason for reason in placement.left.values())


def linear_behind(op: str, *, bias: bool = True, **attributes: object) -> object:
    nodes = [toys.node("MatMul", "x w", "p")]
    nodes += [toys.node("Add", "p b", "s")] if bias else []
    inputs = f"{'s' if bias else 'p'} {'shape' if op == 'Reshape' else ''}"
    nodes.append(toys.node(op, inputs, "y", **attributes))
    constants = {"w": weights(16, 24), "b": weights(24), "shape": np.array([0, 0, 4, 6])}
    return toys.model(nodes, {"x": ["N", 5, 16]}, ["y"], constants)


@pytest.mark.parametrize(
    ("op", "attributes", "stays_float"),
    [
        ("Reshape", {}, True),
        ("Transpose", {"perm": [0, 2, 1]}, True),
        ("Split", {}, True),
        ("Relu", {}, False),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_a_product_that_is_rearranged_next_are_stored_as_float(
    op: str, attributes: dict[str, object], stays_float: bool, bias: bool
) -> None:
    model = linear_behind(op, bias=bias, **attributes)
    assert [weight.stays_float for weight in placed(model).weights] == [stays_float]
    for stored in ("int8", "float"):
        (weight,) = placed(model, QdqOptions(weights=stored)).weights
        assert weight.stays_float == (stored == "float")


def test_small_grouped_conv_is_left_alone_when_asked() -> None:
    nodes = [conv("x", "a", "w1", group=4), conv("a", "y", "w2")]
    model = toys.model(
        nodes, {"x": ["N", 8, 8, 8]}, ["y"], {"w1": weights(8, 2, 3, 3), "w2": weights(16, 8, 3, 3)}
    )
    placement = placed(model)
    assert pairs(placement) == {"x": [("a", 0)], "a": [("y", 0)]}
    placement = placed(model, QdqOptions(min_channels=16))
    assert pairs(placement) == {"a": [("y", 0)]}
    assert "fewer than 16" in placement.left["a"]


def test_depthwise_conv_is_quantized_and_a_ragged_grouped_one_when_all_are() -> None:
    depthwise = toys.model([conv("x", "y", "w", group=16)], X, ["y"], {"w": weights(16, 1, 3, 3)})
    assert pairs(placed(depthwise)) == {"x": [("y", 0)]}
    ragged = toys.model(
        [conv("x", "y", "w", group=18)], {"x": ["N", 18, 8, 8]}, ["y"], {"w": weights(18, 1, 3, 3)}
    )
    assert "not a multiple of 8" in placed(ragged, QdqOptions(min_channels=16)).left["y"]
    assert pairs(placed(ragged)) == {"x": [("y", 0)]}


def product(left: list[object], weight: tuple[int, ...], op: str = "MatMul", **attributes: int) -> object:
    return toys.model([toys.node(op, "x w", "y", **attributes)], {"x": left}, ["y"], {"w": weights(*weight)})


def test_matrix_vector_products_are_left_alone() -> None:
    assert "matrix-vector" in placed(product([64], (64, 32))).left["y"]
    assert "matrix-vector" in placed(product(["N", 64], (64, 1))).left["y"]
    assert "matrix-vector" in placed(product(["N", 64], (1, 64), "Gemm", transB=1)).left["y"]
    assert "matrix-vector" in placed(product(["N", 4, 1, 64], (4, 64, 32))).left["y"]
    assert pairs(placed(product(["N", 64], (64, 1)), QdqOptions(gemv=True))) == {"x": [("y", 0)]}


@pytest.mark.parametrize("batch", ["N", None, 2, 1])
def test_the_batch_does_not_decide_whether_a_layer_is_quantized(batch: object) -> None:
    assert placed(product([batch, 64], (64, 32))).quantized == ("y",)
    assert placed(product([batch, 64], (32, 64), "Gemm", transB=1)).quantized == ("y",)
    assert placed(product([batch, 1, 64], (64, 32))).quantized == ("y",)
    assert placed(product([batch, 64], (64, 32), "Gemm")).quantized == ("y",)


def test_constant_left_operand_is_quantized_by_rows() -> None:
    model = toys.model([toys.node("MatMul", "w x", "y")], {"x": [64, "N"]}, ["y"], {"w": weights(32, 64)})
    placement = placed(model)
    assert pairs(placement) == {"x": [("y", 1)]}
    assert placement.weights[0].axis == 0


def test_attention_products_are_quantized_unless_asked() -> None:
    nodes = [
        toys.node("MatMul", "q k", "logits"),
        toys.node("Mul", "logits scale", "scaled"),
        toys.node("Softmax", "scaled", "p", axis=-1),
        toys.node("MatMul", "p v", "y"),
    ]
    inputs = {"q": ["N", 16, 32], "k": ["N", 32, 16], "v": ["N", 16, 32]}
    model = toys.model(nodes, inputs, ["y"], {"scale": np.float32(0.1)})
    placement = placed(model, QdqOptions(attention="float"))
    assert set(placement.left) == {"logits", "y"} and pairs(placement) == {}
    assert pairs(placed(model)) == {
        "q": [("logits", 0)],
        "k": [("logits", 1)],
        "p": [("y", 0)],
        "v": [("y", 1)],
    }


def attention_over(count: int | str, queries: int = 16) -> onnx.ModelProto:
    nodes = [
        toys.node("MatMul", "q k", "logits"),
        toys.node("Softmax", "logits", "p", axis=-1),
        toys.node("MatMul", "p v", "y"),
    ]
    return toys.model(nodes, {"q": ["N", queries, 32], "k": ["N", 32, count], "v": ["N", count, 32]}, ["y"])


@pytest.mark.parametrize(("count", "left"), [(31, set()), (32, {"y"}), (320, {"y"}), ("tokens", {"y"})])
def test_many_probabilities_stay_float(count: int | str, left: set[str]) -> None:
    placement = placed(attention_over(count))
    assert set(placement.left) == left
    assert all("probabilities of an attention" in reason for reason in placement.left.values())
    assert not placed(attention_over(count), QdqOptions(attention="int8")).left


def test_in_float16_both_products_of_a_long_attention_are_float() -> None:
    assert set(placed(attention_over(64), QdqOptions(high_precision="fp16")).left) == {"logits", "y"}
    assert not placed(attention_over(16), QdqOptions(high_precision="fp16")).left


def concat_model(*, nested: bool = False) -> object:
    nodes = [
        conv("x", "a", "w1"),
        conv("x", "b", "w1"),
        toys.node("Concat", "a b", "c", axis=1),
        conv("c", "y", "w2"),
        conv("a", "z", "w1"),
    ]
    if nested:
        nodes += [toys.node("Concat", "c b", "d", axis=1), conv("d", "v", "w3")]
    constants = {"w1": weights(16, 16, 3, 3), "w2": weights(16, 32, 3, 3)}
    if nested:
        constants["w3"] = weights(16, 48, 3, 3)
    return toys.model(nodes, X, ["y", "z", "v"] if nested else ["y", "z"], constants)


def test_concat_has_one_pair_behind_it_and_its_branches_share_the_scale() -> None:
    placement = placed(concat_model())
    assert pairs(placement) == {"x": [("a", 0), ("b", 0)], "a": [("z", 0)], "c": [("y", 0)]}
    assert [(tie.tensors, tie.leaders) for tie in placement.ties] == [(("a", "c"), ("c",))]
    assert placed(concat_model(), QdqOptions(share_concat=False)).ties == ()


def test_nested_concats_share_the_scale_of_the_outermost() -> None:
    ties = placed(concat_model(nested=True)).ties
    assert [(each.tensors, each.leaders) for each in ties] == [(("a", "c", "d"), ("d",))]


@pytest.mark.parametrize("op", ["Slice", "Split", "Gather"])
def test_behind_an_op_that_drops_values_the_tensor_read_next_carries_the_pair(op: str) -> None:
    constants = {"w": weights(16, 16, 3, 3), "w8": weights(16, 8, 3, 3)}
    if op == "Slice":
        node = toys.node("Slice", "a start end axis", "part")
        constants |= {"start": np.array([0]), "end": np.array([8]), "axis": np.array([1])}
    elif op == "Split":
        node = toys.node("Split", "a", "part rest", axis=1)
    else:
        node = toys.node("Gather", "a index", "part", axis=1)
        constants["index"] = np.arange(8)
    model = toys.model([conv("x", "a", "w"), node, conv("part", "y", "w8")], X, ["y"], constants)
    assert pairs(placed(model)) == {"x": [("a", 0)], "part": [("y", 0)]}


def test_average_pool_between_int8_layers_is_quantized() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("AveragePool", "a", "p", kernel_shape=[2, 2]),
        conv("p", "y", "w"),
    ]
    model = toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3)})
    assert pairs(placed(model)) == {"x": [("a", 0)], "a": [("p", 0)], "p": [("y", 0)]}


@pytest.mark.parametrize("pool", ["AveragePool", "GlobalAveragePool"])
def test_a_pool_that_is_reshaped_for_a_layer_has_its_pair_right_behind_it(pool: str) -> None:
    window = {"kernel_shape": [8, 8]} if pool == "AveragePool" else {}
    nodes = [
        conv("x", "a", "w"),
        toys.node(pool, "a", "p", **window),
        toys.node("Flatten", "p", "f"),
        toys.node("Unsqueeze", "f axes", "u"),
        toys.node("MatMul", "u m", "y"),
    ]
    constants = {"w": weights(16, 16, 3, 3), "m": weights(16, 24), "axes": np.array([0], np.int64)}
    placement = placed(toys.model(nodes, X, ["y"], constants))
    assert pairs(placement) == {"x": [("a", 0)], "a": [("p", 0)], "p": [("f", 0)]}
    assert placement.lifted == {"f": (Read("y", 0),)}


def test_a_pool_without_a_scale_keeps_the_pair_behind_the_reshape() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("GlobalAveragePool", "a", "p"),
        toys.node("Flatten", "p", "f"),
        toys.node("MatMul", "f m", "y"),
    ]
    model = toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3), "m": weights(16, 24)})
    assert pairs(placed(model, available={"x", "a", "f"})) == {
        "x": [("a", 0)],
        "a": [("p", 0)],
        "f": [("y", 0)],
    }


@pytest.mark.parametrize(
    ("middle", "pooled", "quantized"), [(4, True, False), (5, True, True), (4, False, True)]
)
def test_a_point_convolution_of_four_products_is_left_alone(
    middle: int, pooled: bool, quantized: bool
) -> None:
    nodes = [
        toys.node("GlobalAveragePool" if pooled else "Relu", "x", "g"),
        conv("g", "s", "down", kernel=1),
        toys.node("Relu", "s", "r"),
        conv("r", "y", "up", kernel=1),
    ]
    constants = {"down": weights(middle, 16, 1, 1), "up": weights(16, middle, 1, 1)}
    placement = placed(toys.model(nodes, X, ["y"], constants))
    assert ("y" in placement.quantized) is quantized
    assert quantized or f"sums {middle} products" in placement.left["y"]


def test_an_op_that_reads_only_the_shape_reads_nothing_in_float() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("AveragePool", "a", "p", kernel_shape=[2, 2]),
        toys.node("Shape", "p", "size"),
        conv("p", "y", "w"),
    ]
    model = toys.model(nodes, X, ["y", "size"], {"w": weights(16, 16, 3, 3)}, dtypes={"size": 7})
    assert pairs(placed(model)) == {"x": [("a", 0)], "a": [("p", 0)], "p": [("y", 0)]}


def test_average_pool_before_a_float_op_is_not() -> None:
    nodes = [
        conv("x", "a", "w"),
        toys.node("GlobalAveragePool", "a", "p"),
        toys.node("Flatten", "p", "f"),
        toys.node("Softmax", "f", "y", axis=1),
    ]
    model = toys.model(nodes, X, ["y"], {"w": weights(16, 16, 3, 3)})
    assert pairs(placed(model)) == {"x": [("a", 0)]}


def test_graph_output_and_bias_carry_no_pair() -> None:
    node = toys.node("Conv", "x w b", "y", pads=[1, 1, 1, 1])
    model = toys.model([node], X, ["y"], {"w": weights(16, 16, 3, 3), "b": weights(16)})
    placement = placed(model)
    assert pairs(placement) == {"x": [("y", 0)]}
    assert [weight.tensor for weight in placement.weights] == ["w"]


@pytest.mark.parametrize("pattern", ["node_z", "node_*", "Conv", "z"])
def test_exclude_by_name_glob_and_op_type(pattern: str) -> None:
    placement = placed(basic_block(downsample=False), QdqOptions(exclude=(pattern,)))
    assert "z" not in placement.quantized
    assert placement.left["z"] == f"excluded by {pattern!r}"
    assert placement.unmatched == ()


def test_excluding_the_add_leaves_its_skip_in_float_only() -> None:
    placement = placed(basic_block(downsample=False), QdqOptions(exclude=("Add", "nothing*")))
    assert pairs(placement) == {"x": [("a_bn", 0)], "b": [("c_bn", 0)], "y": [("z", 0)]}
    assert placement.left == {} and placement.share == 1
    assert placement.float_skips == {"sum": "excluded by 'Add'"} and placement.unmatched == ("nothing*",)


def test_a_layer_whose_input_has_no_scale_is_left_alone() -> None:
    placement = placed(basic_block(downsample=False), available={"x", "y"})
    assert pairs(placement) == {"x": [("a_bn", 0), ("sum", 1)], "y": [("z", 0)]}
    assert placement.left["c_bn"] == "no scale for its input 'b'"
