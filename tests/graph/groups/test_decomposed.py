"""Activations decomposed into several nodes, as exporters write them."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from helpers import toys

from onnx_trtcal.graph.groups.group import find_groups

W = np.ones((4, 4), np.float32)

# name -> (nodes as "op: inputs -> output", does it join the kernel)
SPELLINGS = {
    "silu": ["Sigmoid: c -> s", "Mul: c s -> y"],
    "silu, other order": ["Sigmoid: c -> s", "Mul: s c -> y"],
    "silu by division": ["Neg: c -> n", "Exp: n -> e", "Add: e one -> d", "Div: c d -> y"],
    "silu by a reciprocal": [
        "Neg: c -> n",
        "Exp: n -> e",
        "Add: one e -> d",
        "Reciprocal: d -> r",
        "Mul: c r -> y",
    ],
    "silu by one over": ["Neg: c -> n", "Exp: n -> e", "Add: one e -> d", "Div: one d -> r", "Mul: r c -> y"],
    "quick gelu": ["Mul: c k -> a", "Sigmoid: a -> s", "Mul: c s -> y"],
    "hard-swish": ["Add: c three -> a", "Clip: a zero six -> b", "Mul: c b -> m", "Div: m six -> y"],
    "hard-swish, factor first": [
        "Add: c three -> a",
        "Clip: a zero six -> b",
        "Div: b six -> d",
        "Mul: c d -> y",
    ],
    "hard-swish with HardSigmoid": ["HardSigmoid: c -> s", "Mul: c s -> y"],
    "gelu with Erf": ["Div: c k -> a", "Erf: a -> e", "Add: e one -> f", "Mul: c f -> g", "Mul: g half -> y"],
    "gelu, half first": [
        "Div: c k -> a",
        "Erf: a -> e",
        "Add: one e -> f",
        "Mul: half c -> h",
        "Mul: h f -> y",
    ],
    "gelu with Tanh": [
        "Pow: c three -> p",
        "Mul: p k -> q",
        "Add: c q -> r",
        "Mul: r k -> s",
        "Tanh: s -> t",
        "Add: t one -> u",
        "Mul: c half -> v",
        "Mul: v u -> y",
    ],
    "mish": ["Softplus: c -> s", "Tanh: s -> t", "Mul: c t -> y"],
    "leaky as maximum": ["Mul: c k -> a", "Max: c a -> y"],
}
OTHERS = {
    "square": ["Mul: c c -> y"],
    "cube": ["Mul: c c -> s", "Mul: c s -> y"],
    "square with its sign": ["Abs: c -> a", "Mul: c a -> y"],
    "softsign, which ends at 1": ["Abs: c -> a", "Add: a one -> d", "Div: c d -> y"],
    "one over x": ["Reciprocal: c -> r", "Mul: c r -> y"],
    "bounded": ["Sigmoid: c -> s", "Tanh: c -> t", "Add: s t -> y"],
    "another input in it": [
        "Sigmoid: c -> s",
        "Mul: c s -> m",
        "Exp: c -> e",
        "Mul: e x -> f",
        "Mul: m f -> y",
    ],
    "gated by another tensor": ["Sigmoid: x -> s", "Mul: c s -> y"],
    "not pointwise": ["Softmax: c -> s", "Mul: c s -> y"],
    "per-channel constant": ["Mul: c vector -> a", "Sigmoid: a -> s", "Mul: c s -> y"],
    "two results": ["Sigmoid: c -> s", "Mul: c s -> y", "Tanh: c -> z"],
}
CONSTANTS = {"zero": 0, "half": 0.5, "one": 1, "k": 1.4142, "three": 3, "six": 6}


def group_of(lines, outputs=("y",)):
    nodes = [toys.node("MatMul", "x w", "c")]
    for line in lines:
        op, rest = line.split(": ")
        inputs, output = rest.split(" -> ")
        nodes.append(toys.node(op, inputs, output))
    constants = {name: np.array(value, np.float32) for name, value in CONSTANTS.items()}
    constants |= {"w": W, "vector": np.ones(4, np.float32)}
    (group,) = find_groups(gs.import_onnx(toys.model(nodes, {"x": [4, 4]}, outputs, constants)))
    return group


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelled_out_activation_is_part_of_the_kernel(name):
    lines = SPELLINGS[name]
    group = group_of(lines)
    made = [line.split(" -> ")[1] for line in lines]
    assert group.output == "y"
    assert set(group.inner) == {"c", *made} - {"y"}
    assert set(group.nodes) == {"c", *made}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_keep_their_scales(name):
    outputs = ["y", "z"] if name == "two results" else ["y"]
    assert group_of(OTHERS[name], outputs).output == "c"


def test_an_inner_tensor_that_is_an_output_keeps_the_activation_apart():
    assert group_of(SPELLINGS["silu"], ("y", "s")).output == "c"
    assert group_of(SPELLINGS["silu"], ("y", "c")).output == "c"


def test_a_factor_that_others_read_too_stays_outside():
    lines = [*SPELLINGS["hard-swish"], "Exp: m -> z"]
    group = group_of(lines, ("y", "z"))
    assert group.output == "m"
