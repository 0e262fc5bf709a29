"""Which graphs are proven to compute every row by itself; ONNX Runtime says whether one that is does so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx_trtcal.graph.independent_rows import rows_are_independent
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

# Not powers of one another, so that no shape fits by chance; the channels and sides are even for DepthToSpace.
IMAGE, MATRIX, VECTOR = ("N", 4, 6, 6), ("N", 5, 4), ("N", 6)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: Mapping[str, np.ndarray],
    opset: int = 17,
) -> onnx.ModelProto:
    outputs = [name for node in nodes for name in node.output if name]
    proto = toys.model(nodes, {"x": shape}, outputs, constants, opset=opset)
    for value in proto.graph.output:
        value.ClearField("type")
    return proto


def proven(proto: onnx.ModelProto) -> set[str]:
    """The tensors that are proven to hold rows."""
    loaded = load(proto)
    graph = import_graph(loaded)
    names = [name for node in proto.graph.node for name in node.output if name]
    return {name for name in names if rows_are_independent(graph, loaded.inputs, [name])}


def check_rows(proto: onnx.ModelProto, names: set[str], dtype: type = np.float32) -> None:
    """Runs three rows together and each alone: what is proven must have the same rows."""
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
    rows = np.random.default_rng(7).normal(size=(3, *shape))
    rows = rows.astype(dtype) if dtype is np.float32 else (np.abs(rows) * 2 % 3).astype(dtype)
    wanted = sorted(names)
    if not wanted:
        return
    proto = without_others(proto, names)
    together = toys.run(proto, {"x": rows}, wanted)
    alone = [toys.run(proto, {"x": row[None]}, wanted) for row in rows]
    for at, (name, whole) in enumerate(zip(wanted, together, strict=True)):
        assert whole.shape[0] == 3, name
        for row, each in zip(whole, alone, strict=True):
            assert each[at].shape == (1, *row.shape), name
            np.testing.assert_allclose(each[at][0], row, rtol=1e-5, atol=1e-6, err_msg=name)


def without_others(proto: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """The nodes that these tensors need: others may not run on one row."""
    needed, nodes = set(names), []
    for node in reversed(proto.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    cut = type(proto)()
    cut.CopyFrom(proto)
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend(nodes[::-1])
    cut.graph.output.extend(value for value in proto.graph.output if value.name in names)
    return cut


Case = tuple[str, str, tuple[int | str, ...], dict[str, Any], dict[str, np.ndarray]]

# op, inputs, shape of x, attributes, constants
KEPT: list[Case] = [
    ("Relu", "x", VECTOR, {}, {}),
    ("Relu", "x", ("N",), {}, {}),
    ("Add", "x c", VECTOR, {}, {"c": normal(6)}),
    ("Mul", "x c", VECTOR, {}, {"c": normal(1, 1)}),
    ("Add", "x x", IMAGE, {}, {}),
    ("Where", "m x c", MATRIX, {}, {"m": np.array([True, False, True, False]), "c": normal(1, 5, 1)}),
    ("PRelu", "x c", IMAGE, {}, {"c": normal(4, 1, 1)}),
    ("Clip", "x lo hi", IMAGE, {}, {"lo": np.float32(-0.5), "hi": np.float32(0.5)}),
    ("Cast", "x", IMAGE, {"to": TensorProto.FLOAT16}, {}),
    ("Conv", "x w b", IMAGE, {"strides": [2, 2]}, {"w": normal(3, 4, 3, 3), "b": normal(3)}),
    ("ConvTranspose", "x w", IMAGE, {}, {"w": normal(4, 3, 2, 2)}),
    ("MaxPool", "x", IMAGE, {"kernel_shape": [2, 2]}, {}),
    ("AveragePool", "x", IMAGE, {"kernel_shape": [2, 2]}, {}),
    ("GlobalAveragePool", "x", IMAGE, {}, {}),
    ("InstanceNormalization", "x s b", IMAGE, {}, {"s": normal(4), "b": normal(4)}),
    ("LRN", "x", IMAGE, {"size": 3}, {}),
    (
        "BatchNormalization",
        "x s b m v",
        IMAGE,
        {},
        {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 1},
    ),
    ("DepthToSpace", "x", IMAGE, {"blocksize": 2}, {}),
    ("SpaceToDepth", "x", IMAGE, {"blocksize": 2}, {}),
    ("LayerNormalization", "x s", MATRIX, {}, {"s": normal(4)}),
    ("LayerNormalization", "x s", MATRIX, {"axis": 1}, {"s": normal(5, 4)}),
    ("LpNormalization", "x", MATRIX, {"axis": 1}, {}),
    ("Softmax", "x", MATRIX, {"axis": 1}, {}),
    ("LogSoftmax", "x", MATRIX, {}, {}),
    ("ArgMax", "x", MATRIX, {"axis": 2, "keepdims": 0}, {}),
    ("Gemm", "x w", VECTOR, {"transB": 1}, {"w": normal(3, 6)}),
    ("Gemm", "x w c", VECTOR, {}, {"w": normal(6, 3), "c": normal(1, 3)}),
    ("MatMul", "x w", VECTOR, {}, {"w": normal(6, 3)}),
    ("MatMul", "x w", VECTOR, {}, {"w": normal(6)}),
    ("MatMul", "x w", MATRIX, {}, {"w": normal(1, 4, 3)}),
    ("MatMul", "w x", MATRIX, {}, {"w": normal(3, 5)}),
    ("Concat", "x x", MATRIX, {"axis": -1}, {}),
    ("Flatten", "x", IMAGE, {}, {}),
    ("Flatten", "x", IMAGE, {"axis": -3}, {}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(0, -1)}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(0, 0, 36)}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(-1, 144)}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(-1, 0, 36)}),
    ("Squeeze", "x a", ("N", 1, 4), {}, {"a": ints(1)}),
    ("Unsqueeze", "x a", VECTOR, {}, {"a": ints(-1, 1)}),
    ("Transpose", "x", IMAGE, {"perm": [0, 2, 3, 1]}, {}),
    ("ReduceMean", "x", IMAGE, {"axes": [-1, -2]}, {}),
    ("ReduceMax", "x", IMAGE, {"axes": [1], "keepdims": 0}, {}),
    ("ReduceSum", "x a", IMAGE, {}, {"a": ints(2)}),
    ("Slice", "x s e a", IMAGE, {}, {"s": ints(1), "e": ints(3), "a": ints(2)}),
    ("Gather", "x i", MATRIX, {"axis": 1}, {"i": ints(3, 0)}),
    ("Gather", "x i", MATRIX, {"axis": -1}, {"i": ints(3, 0).reshape(1, 2)}),
    ("Pad", "x p", MATRIX, {"mode": "reflect"}, {"p": ints(0, 1, 0, 0, 1, 2)}),
    ("Resize", "x roi s", IMAGE, {"mode": "linear"}, {"roi": normal(0), "s": np.float32([1, 1, 2, 2])}),
    ("Tile", "x t", VECTOR, {}, {"t": ints(1, 2)}),
]

# Every one of them gives other values, or another number of rows, to items that are run together.
MIXED: list[Case] = [
    ("Add", "x c", VECTOR, {}, {"c": normal(1, 1, 6)}),
    ("Flatten", "x", IMAGE, {"axis": 0}, {}),
    ("Flatten", "x", IMAGE, {"axis": 2}, {}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(-1, 36)}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(-1)}),
    ("Reshape", "x s", IMAGE, {}, {"s": ints(1, -1, 4)}),
    ("Unsqueeze", "x a", VECTOR, {}, {"a": ints(0)}),
    ("Unsqueeze", "x a", VECTOR, {}, {"a": ints(-3)}),
    ("Transpose", "x", MATRIX, {}, {}),
    ("Softmax", "x", MATRIX, {"axis": 0}, {}),
    ("Softmax", "x", MATRIX, {"axis": -3}, {}),
    ("LpNormalization", "x", MATRIX, {"axis": 0}, {}),
    ("LayerNormalization", "x s", VECTOR, {"axis": 0}, {"s": normal(1)}),
    ("ReduceMean", "x", IMAGE, {"axes": [0, 1]}, {}),
    ("ReduceMean", "x", IMAGE, {}, {}),
    ("ArgMax", "x", MATRIX, {}, {}),
    ("Concat", "x x", MATRIX, {"axis": 0}, {}),
    ("Concat", "x x", MATRIX, {"axis": -3}, {}),
    ("Slice", "x s e", IMAGE, {}, {"s": ints(0), "e": ints(1)}),
    ("Slice", "x s e a st", IMAGE, {}, {"s": ints(-1), "e": ints(-9), "a": ints(-4), "st": ints(-1)}),
    ("Gather", "x i", MATRIX, {}, {"i": ints(0, 0)}),
    ("Pad", "x p", VECTOR, {}, {"p": ints(0, 0, 1, 0)}),
    ("Resize", "x roi s", IMAGE, {}, {"roi": normal(0), "s": np.float32([2, 1, 2, 2])}),
    ("Tile", "x t", VECTOR, {}, {"t": ints(2, 1)}),
    ("CumSum", "x a", MATRIX, {}, {"a": ints(0)}),
    ("MeanVarianceNormalization", "x", IMAGE, {}, {}),
]


def single(case: Case, opset: int = 17) -> onnx.ModelProto:
    op, inputs, shape, attributes, constants = case
    return model([toys.node(op, inputs, "y", **attributes)], shape, constants, opset)


@pytest.mark.parametrize("case", KEPT, ids=lambda case: f"{case[0]} {case[3]}")
def test_an_op_that_keeps_rows_apart(case: Case) -> None:
    proto = single(case)
    assert proven(proto) == {"y"}
    check_rows(proto, {"y"})


@pytest.mark.parametrize("case", MIXED, ids=lambda case: f"{case[0]} {case[3]}")
def test_an_op_that_does_not(case: Case) -> None:
    proto = single(case)
    assert not proven(proto)
    with pytest.raises(AssertionError):
        check_rows(proto, {"y"})


def test_the_softmax_of_older_opsets_takes_all_axes_behind() -> None:
    proto = single(("Softmax", "x", IMAGE, {}, {}), opset=11)
    assert proven(proto) == {"y"}
    check_rows(proto, {"y"})
    assert not proven(single(("Softmax", "x", IMAGE, {"axis": 0}, {}), opset=11))


def test_rows_of_an_embedding() -> None:
    proto = model([toys.node("Gather", "table x", "y")], ("N", 4), {"table": normal(9, 3)})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert proven(proto) == {"y"}
    check_rows(proto, {"y"}, np.int64)


def test_what_a_model_states_of_its_shapes_proves_nothing() -> None:
    nodes = [toys.node("CumSum", "x axis", "t"), toys.node("Reshape", "t s", "y")]
    proto = model(nodes, IMAGE, {"axis": ints(1), "s": ints(-1, 6)})
    proto.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N", 6]))
    assert not proven(proto)


def test_a_tensor_that_depends_on_no_row_holds_none() -> None:
    nodes = [toys.node("Neg", "c", "d"), toys.node("Add", "x d", "y")]
    assert proven(model(nodes, VECTOR, {"c": normal(6)})) == {"y"}


def test_positions_of_a_pooling_count_through_the_batch() -> None:
    proto = model([toys.node("MaxPool", "x", "y p", kernel_shape=[2, 2])], IMAGE, {})
    assert proven(proto) == {"y"}


def test_a_split_and_the_largest_values() -> None:
    proto = model([toys.node("Split", "x", "a b", axis=1)], VECTOR, {}, 13)
    assert proven(proto) == {"a", "b"}
    check_rows(proto, {"a", "b"})
    assert not proven(model([toys.node("Split", "x", "a b")], VECTOR, {}, 13))
    proto = model([toys.node("TopK", "x k", "v i")], MATRIX, {"k": ints(2)})
    assert proven(proto) == {"v", "i"}
    check_rows(proto, {"v", "i"})


def test_two_inputs_must_have_as_many_axes() -> None:
    nodes = [toys.node("Reshape", "x s", "v"), toys.node("Add", "x v", "y")]
    assert proven(model(nodes, ("N", 3, 2), {"s": ints(0, -1)})) == {"v"}


def test_what_only_a_batch_of_one_would_stand_beside_has_rows_of_its_own() -> None:
    assert not proven(single(("Add", "x c", VECTOR, {}, {"c": normal(3, 6)})))
    assert not proven(single(("Gemm", "x w c", VECTOR, {}, {"w": normal(6, 3), "c": normal(3, 1)})))
    assert not proven(single(("MatMul", "x w", MATRIX, {}, {"w": normal(3, 4, 3)})))


def test_older_opsets_broadcast_otherwise_or_not_at_all() -> None:
    for case in (
        ("Sum", "x c", VECTOR, {}, {"c": normal(1, 6)}),
        ("Add", "x c", VECTOR, {}, {"c": normal(6)}),
    ):
        assert proven(single(case, opset=8))
        assert not proven(single(case, opset=7))
    along_rows = ("Add", "x c", ("N", 6), {"axis": 0, "broadcast": 1}, {"c": normal(3)})
    assert not proven(single(along_rows, opset=6))


def test_rows_are_not_squeezed() -> None:
    assert not proven(single(("Squeeze", "x a", ("N", 1, 4), {}, {"a": ints(-3)})))
    assert not proven(single(("Squeeze", "x", ("N", 1, 4), {}, {})))


def test_ops_that_nobody_knows_prove_nothing() -> None:
    assert not proven(model([toys.node("Relu", "x", "y", domain="my.ops")], VECTOR, {}))
    assert not proven(model([toys.node("RandomUniformLike", "x", "r")], VECTOR, {}))


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """Ops of both tables one after the other, as far as ONNX Runtime runs them."""
    cases = draw(st.lists(st.sampled_from([*KEPT, *MIXED]), min_size=2, max_size=6))
    shape = cases[0][2]
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for at, (op, inputs, _, attributes, held) in enumerate(cases):
        read = st.sampled_from(["x", *(node.output[0] for node in nodes[-2:])])
        names = [f"{name}{at}" if name in held else draw(read) for name in inputs.split()]
        constants.update((f"{name}{at}", value) for name, value in held.items())
        grown = [*nodes, toys.node(op, names, f"y{at}", **attributes)]
        try:
            toys.run(model(grown, shape, constants), {"x": normal(3, *map(int, shape[1:]))})
        except Exception:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
            continue
        nodes = grown
    return model(nodes or [toys.node("Relu", "x", "y")], shape, constants)


@settings(max_examples=60)
@given(chains())
def test_what_is_proven_holds(proto: onnx.ModelProto) -> None:
    check_rows(proto, proven(proto))
