"""Whatever factors channels get, the rewritten graph computes what the original does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.improve.equalize.numbering import number_channels
from onnx_trtcal.improve.equalize.rewrite import fitting, rewrite
from onnx_trtcal.prepared import fold_model

if TYPE_CHECKING:
    from collections.abc import Sequence

RANDOM = np.random.default_rng(0)
node = toys.node


def array(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def rewritten(
    proto: onnx.ModelProto, exponents: Sequence[int], *, insert: bool = True
) -> tuple[onnx.ModelProto, int, int]:
    """The model with factors of two on every channel that may have one, their number, and that of Muls put in."""
    folded = fold_model(load(proto))
    channels = number_channels(folded.folded, folded.model.shapes, insert=insert)
    labels = channels.labels()
    factors = np.resize(2.0 ** np.asarray(exponents, dtype=float), channels.count)[labels]
    factors[channels.pinned(labels)] = 1.0
    assert fitting(channels, factors)
    inserted = rewrite(channels, factors)
    made = export_model(folded.folded, folded.model)
    return made, int((factors != 1).sum()), inserted


def check_same(
    proto: onnx.ModelProto, exponents: Sequence[int] = (3, -2, 1, -1, 2), *, insert: bool = True
) -> tuple[int, int]:
    """Runs both; returns how many channel numbers had factors, and how many Muls were put in."""
    made, scaled, inserted = rewritten(proto, exponents, insert=insert)
    rng = np.random.default_rng(1)
    feeds = {}
    for value in proto.graph.input:
        shape = [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
        kind = np.float16 if value.type.tensor_type.elem_type == TensorProto.FLOAT16 else np.float32
        feeds[value.name] = rng.normal(0, 1, shape).astype(kind)
    for one, other in zip(toys.run(proto, feeds), toys.run(made, feeds), strict=True):
        largest = np.abs(one.astype(np.float64)).max()
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * largest + 1e-30)
    return scaled, inserted


def conv(data: str, out: str, weight: str, **attributes: object) -> onnx.NodeProto:
    return node("Conv", f"{data} {weight} {weight}_b", out, **attributes)


def between(
    *nodes: onnx.NodeProto, opset: int = 17, head: int = 4, **constants: np.ndarray
) -> onnx.ModelProto:
    """Conv -> a -> the nodes -> b -> Conv, on 2 x 3 x 6 x 6; `head` is how many channels b has."""
    given = {
        "w1": array(4, 3, 3, 3),
        "w1_b": array(4),
        "w2": array(5, head, 1, 1),
        "w2_b": array(5),
        **constants,
    }
    whole = [conv("x", "a", "w1"), *nodes, conv("b", "y", "w2")]
    return toys.model(whole, {"x": ["N", 3, 6, 6]}, {"y": None}, given, opset=opset)


PASSING = {
    "relu": [node("Relu", "a", "b")],
    "leaky": [node("LeakyRelu", "a", "b", alpha=0.1)],
    "prelu": [node("PRelu", "a slope", "b")],
    "neg abs": [node("Neg", "a", "n"), node("Abs", "n", "b")],
    "clip at zero": [node("Clip", "a zero", "b")],
    "max pool": [node("MaxPool", "a", "b", kernel_shape=[2, 2], strides=[2, 2])],
    "average pool": [node("AveragePool", "a", "b", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
    "global pools": [node("GlobalAveragePool", "a", "g"), node("GlobalMaxPool", "g", "b")],
    "mean over positions": [node("ReduceMean", "a", "b", axes=[2, 3])],
    "transpose there and back": [
        node("Transpose", "a", "t", perm=[0, 2, 3, 1]),
        node("Relu", "t", "r"),
        node("Transpose", "r", "b", perm=[0, 3, 1, 2]),
    ],
    "pad with zeros": [node("Pad", "a pads", "b")],
    "pad at the edge": [node("Pad", "a pads", "b", mode="reflect")],
    "resize": [node("Resize", ["a", "", "scales"], "b", mode="nearest")],
    "slice of positions": [node("Slice", "a starts ends axes steps", "b")],
    "bias": [node("Add", "a bias", "b")],
    "scalar shift": [node("Sub", "one a", "b")],
    "scalar factor": [node("Mul", "a two", "b")],
    "factor per channel": [node("Div", "a bias", "b")],
    "maximum with a constant": [node("Max", "a bias", "b")],
    "residual": [node("Relu", "a", "r"), conv("r", "c", "w3"), node("Add", "r c", "b")],
    "gate": [
        node("GlobalAveragePool", "a", "g"),
        conv("g", "h", "w3"),
        node("Sigmoid", "h", "s"),
        node("Mul", "a s", "b"),
    ],
    "depthwise": [conv("a", "d", "dw", group=4), node("Relu", "d", "b")],
    "grouped": [conv("a", "d", "grouped", group=2), node("Relu", "d", "b")],
    "transposed": [node("ConvTranspose", "a tw w3_b", "b", group=2)],
    "dropout": [node("Dropout", "a", "b")],
    "gather of channels": [node("Gather", "a order", "b", axis=1)],
    "split and join": [
        node("Split", "a halves", "s1 s2", axis=1),
        node("Relu", "s1", "r1"),
        node("Concat", "s2 r1", "b", axis=1),
    ],
    "joined along positions": [node("Relu", "a", "r"), node("Concat", "a r", "b", axis=2)],
    "reshape there and back": [
        node("Reshape", "a flat", "f"),
        node("Relu", "f", "r"),
        node("Reshape", "r square", "b"),
    ],
    "cast": [node("Cast", "a", "b", to=TensorProto.FLOAT)],
}
CONSTANTS = {
    "slope": np.abs(array(4, 1, 1)),
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "bias": np.abs(array(4, 1, 1)) + 0.5,
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "starts": np.array([0, 1]),
    "ends": np.array([4, 5]),
    "axes": np.array([2, 3]),
    "steps": np.array([2, 1]),
    "w3": array(4, 4, 1, 1),
    "w3_b": array(4),
    "dw": array(4, 1, 3, 3),
    "dw_b": array(4),
    "grouped": array(4, 2, 1, 1),
    "grouped_b": array(4),
    "tw": array(4, 2, 2, 2),
    "order": np.array([2, 0, 1, 3]),
    "halves": np.array([1, 3]),
    "flat": np.array([0, 4, -1]),
    "square": np.array([0, 4, 4, 4]),
}


@pytest.mark.parametrize("name", PASSING)
def test_factors_pass(name: str) -> None:
    scaled, inserted = check_same(between(*PASSING[name], **CONSTANTS), insert=False)
    # All four channels of the first Conv, at least.
    assert scaled >= 4 and not inserted


BLOCKING = {
    "sigmoid": [node("Sigmoid", "a", "b")],
    "product of two": [node("Mul", "a a", "b")],
    "softmax": [node("Softmax", "a", "b", axis=1)],
    "mean over channels": [node("ReduceMean", "a", "m", axes=[1]), node("Add", "a m", "b")],
    "clip at six": [node("Clip", "a zero six", "b")],
    "depth to space": [
        node("DepthToSpace", "a", "d", blocksize=2),
        node("SpaceToDepth", "d", "b", blocksize=2),
    ],
    "padding that is not zero": [node("Pad", "a pads one", "b")],
    "sorted": [node("TopK", "a four", ["b", "i"], axis=1)],
}


@pytest.mark.parametrize("name", BLOCKING)
def test_factors_stop(name: str) -> None:
    more = {"six": np.float32(6), "four": np.array([4])}
    scaled, _ = check_same(between(*BLOCKING[name], **CONSTANTS, **more), insert=False)
    assert scaled == 0


@pytest.mark.parametrize(
    ("nodes", "muls"),
    [
        ([node("Sigmoid", "a", "s"), node("Mul", "a s", "b")], 1),
        ([node("HardSigmoid", "a", "s"), node("Mul", "a s", "b")], 1),
        ([node("Clip", "a zero six", "b")], 1),
        ([node("Clip", "a zero six", "c"), node("Softmax", "c", "b", axis=1)], 0),
        # What is joined and what is added is the scaled tensor.
        (
            [
                node("Clip", "a zero six", "c"),
                conv("c", "d", "w3"),
                node("Clip", "d zero six", "e"),
                node("Add", "c e", "f"),
                node("Concat", "f c", "g", axis=1),
                conv("g", "b", "wide"),
            ],
            2,
        ),
    ],
)
def test_muls(nodes: list[onnx.NodeProto], muls: int) -> None:
    more = {"six": np.float32(6), "wide": array(4, 8, 1, 1), "wide_b": array(4)}
    _, inserted = check_same(between(*nodes, **CONSTANTS, **more))
    assert inserted == muls
    assert check_same(between(*nodes, **CONSTANTS, **more), insert=False)[1] == 0


def test_added_channels() -> None:
    """A Pad of channels, as in the shortcut of a ResNet, where the new ones are zero."""
    pads = np.array([0, 1, 0, 0, 0, 3, 0, 0])
    proto = between(node("Pad", "a pads", "p"), node("Relu", "p", "b"), head=8, pads=pads)
    scaled, _ = check_same(proto, insert=False)
    assert scaled >= 8


@pytest.mark.parametrize("form", ["gemm", "transposed gemm", "scaled gemm", "matmul", "left matmul"])
def test_fully_connected(form: str) -> None:
    """A Flatten between: each channel is read at all its positions."""
    size = 4 * 4 * 4
    nodes = [conv("x", "a", "w1"), node("Relu", "a", "r")]
    if form == "left matmul":
        nodes += [node("Reshape", "r columns", "f"), node("MatMul", "left f", "m"), node("Relu", "m", "h")]
        nodes.append(node("MatMul", "second h", "y"))
    else:
        nodes.append(node("Flatten", "r", "f"))
        if form == "matmul":
            nodes += [node("MatMul", "f right", "m"), node("Add", "m shift", "s")]
        elif form == "gemm":
            nodes.append(node("Gemm", "f right shift", "s"))
        elif form == "scaled gemm":
            nodes.append(node("Gemm", "f right one", "s", alpha=0.5, beta=2.0))
        else:
            nodes.append(node("Gemm", "f turned shift", "s", transB=1))
        nodes += [node("Relu", "s", "h"), node("MatMul", "h last", "y")]
    right = array(size, 7)
    constants = {
        "w1": array(4, 3, 3, 3),
        "w1_b": array(4),
        "right": right,
        "turned": right.T.copy(),
        "shift": array(7),
        "last": array(7, 3),
        "one": np.ones(1, np.float32),
        "left": array(7, 4),
        "second": array(3, 7),
        "columns": np.array([0, 4, -1]),
    }
    proto = toys.model(nodes, {"x": ["N", 3, 6, 6]}, {"y": None}, constants)
    scaled, _ = check_same(proto, insert=False)
    assert scaled >= 4 + 7


def test_layer_norm() -> None:
    nodes = [
        node("LayerNormalization", "x scale shift", "n", axis=-1),
        node("MatMul", "n w", "m"),
        node("Add", "m b", "a"),
        node("Reshape", "a heads", "h"),
        node("Transpose", "h", "t", perm=[0, 2, 1, 3]),
        node("Softmax", "t", "s", axis=-1),
        node("MatMul", "n w", "k"),
        node("Add", "k a", "y"),
    ]
    constants = {
        "scale": array(8),
        "shift": array(8),
        "w": array(8, 8),
        "b": array(8),
        "heads": np.array([0, 0, 2, 4]),
    }
    proto = toys.model(nodes, {"x": ["N", 5, 8]}, {"y": None, "s": None}, constants)
    # The outputs fix what the products make; the normalization alone is free. Its weight has two readers.
    assert check_same(proto, insert=False)[0] == 8


def test_a_weight_that_two_layers_share_stays_for_the_other() -> None:
    nodes = [
        conv("x", "a", "w1"),
        node("Relu", "a", "r"),
        conv("r", "c", "w"),
        node("Sigmoid", "c", "s"),
        conv("s", "y", "w"),
    ]
    constants = {"w1": array(4, 3, 1, 1), "w1_b": array(4), "w": array(4, 4, 1, 1), "w_b": array(4)}
    proto = toys.model(nodes, {"x": [1, 3, 5, 5]}, {"y": None}, constants)
    assert check_same(proto, insert=False)[0] == 4


def test_computed_weights() -> None:
    nodes = [
        node("Mul", "v norm", "w1"),
        node("Conv", "x w1", "a"),
        node("Relu", "a", "b"),
        node("Cast", "half", "w2", to=TensorProto.FLOAT),
        node("Conv", "b w2", "y"),
    ]
    constants = {
        "v": array(4, 3, 1, 1),
        "norm": array(4, 1, 1, 1),
        "half": array(5, 4, 1, 1).astype(np.float16),
    }
    assert check_same(toys.model(nodes, {"x": [1, 3, 5, 5]}, {"y": None}, constants), insert=False)[0] == 4


def test_outputs_keep_their_values() -> None:
    nodes = [conv("x", "a", "w1"), node("Relu", "a", "r"), conv("r", "y", "w2")]
    constants = {"w1": array(4, 3, 1, 1), "w1_b": array(4), "w2": array(2, 4, 1, 1), "w2_b": array(2)}
    proto = toys.model(nodes, {"x": [1, 3, 5, 5]}, {"y": None, "r": None}, constants)
    assert check_same(proto)[0] == 0


def test_what_a_subgraph_reads_keeps_its_values() -> None:
    body = onnx.helper.make_graph(
        [node("Relu", "r", "inner")], "body", [], [onnx.helper.make_tensor_value_info("inner", 1, None)]
    )
    nodes = [
        conv("x", "a", "w1"),
        node("Relu", "a", "r"),
        node("If", "yes", "i", then_branch=body, else_branch=body),
        conv("r", "c", "w2"),
        node("Add", "c i", "y"),
    ]
    constants = {"w1": array(4, 3, 1, 1), "w1_b": array(4), "w2": array(4, 4, 1, 1), "w2_b": array(4)}
    constants["yes"] = np.array(True)
    assert check_same(toys.model(nodes, {"x": [1, 3, 5, 5]}, {"y": None}, constants))[0] == 0


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18])
def test_opsets(opset: int) -> None:
    """Attributes that became inputs: of Slice, Pad, Clip, Resize and reductions."""
    constants = {
        k: v for k, v in CONSTANTS.items() if k in ("zero", "pads", "starts", "ends", "axes", "steps")
    }
    if opset < 10:
        nodes = [node("Slice", "a", "s", axes=[2, 3], starts=[0, 1], ends=[4, 4])]
        nodes += [node("Pad", "s", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1]), node("Clip", "p", "c", min=0.0)]
        constants = {}
    else:
        nodes = [node("Slice", "a starts ends axes steps", "s"), node("Pad", "s pads", "p")]
        nodes.append(node("Clip", "p zero", "c"))
    if opset < 18:
        nodes.append(node("ReduceMean", "c", "b", axes=[-1]))
    else:
        constants["last"] = np.array([-1])
        nodes.append(node("ReduceMean", "c last", "b"))
    scaled, _ = check_same(between(*nodes, opset=opset, **constants), insert=False)
    assert scaled >= 4


def test_half_precision() -> None:
    """Powers of two change no digit of a 16-bit weight."""
    proto = between(node("Relu", "a", "b"))
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    made, scaled, _ = rewritten(proto, (2, -1, 1), insert=False)
    assert scaled == 4
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (2, 3, 6, 6)).astype(np.float16)}
    np.testing.assert_allclose(toys.run(made, feeds)[0], toys.run(proto, feeds)[0], rtol=2e-3, atol=2e-2)


def test_factors_that_a_type_cannot_hold_do_not_fit() -> None:
    proto = between(node("Relu", "a", "b"))
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    folded = fold_model(load(proto))
    channels = number_channels(folded.folded, folded.model.shapes, insert=False)
    assert not fitting(channels, np.full(channels.count, 2.0**20))


UNARY = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.25},
    "Sigmoid": {},
    "HardSwish": {},
    "Elu": {},
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "AveragePool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "Transpose": {"perm": [0, 1, 3, 2]},
    "Softmax": {"axis": 1},
    "Neg": {},
}


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Graphs of layers, activations, sums, gates, joins and cuts; every tensor is 2 x 4 x 4 x 4."""
    tensors, nodes = ["x"], []
    for at in range(draw(st.integers(3, 14))):
        a, b = (draw(st.sampled_from(tensors[-4:])) for _ in range(2))
        out = f"t{at}"
        op = draw(
            st.sampled_from(
                [*UNARY, "Conv", "Conv", "Depthwise", "Add", "Max", "Mul", "Join", "Cut", "Bias", "Gate"]
            )
        )
        if op in UNARY:
            nodes.append(node(op, a, out, **UNARY[op]))
        elif op == "Conv":
            nodes.append(conv(a, out, "w"))
        elif op == "Depthwise":
            nodes.append(conv(a, out, "dw", group=4, pads=[1, 1, 1, 1]))
        elif op == "Join":
            nodes += [node("Concat", f"{a} {b}", f"j{at}", axis=1), conv(f"j{at}", out, "wide")]
        elif op == "Cut":
            nodes += [node("Split", f"{a} halves", [f"p{at}", f"q{at}"], axis=1)]
            nodes.append(node("Concat", f"q{at} p{at}", out, axis=1))
        elif op == "Bias":
            nodes.append(node("Add", f"{a} bias", out))
        elif op == "Gate":
            nodes += [node("GlobalAveragePool", b, f"g{at}"), node("Mul", f"{a} g{at}", out)]
        else:
            nodes.append(node(op, f"{a} {b}", out))
        tensors.append(out)
    constants = {
        "w": array(4, 4, 1, 1) / 2,
        "w_b": array(4),
        "dw": array(4, 1, 3, 3) / 3,
        "dw_b": array(4),
        "wide": array(4, 8, 1, 1) / 3,
        "wide_b": array(4),
        "bias": array(4, 1, 1),
        "halves": np.array([1, 3]),
    }
    outputs = dict.fromkeys(sorted({tensors[-1], draw(st.sampled_from(tensors[1:]))}))
    return toys.model(nodes, {"x": [2, 4, 4, 4]}, outputs, constants)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.lists(st.integers(-3, 3), min_size=3, max_size=11), st.booleans())
def test_any_graph(proto: onnx.ModelProto, exponents: list[int], insert: bool) -> None:
    check_same(proto, exponents, insert=insert)
