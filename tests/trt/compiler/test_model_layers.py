"""The layers of a model: pairs, faults of pairs, multiply-adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import attention, branches, pooled_classifier, quantized, two_convs, values

from onnx_trtcal.trt.compiler.model_layers import ModelLayer, find_model_layers

if TYPE_CHECKING:
    from collections.abc import Callable


def by_name(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> dict[str, ModelLayer]:
    return {one.name: one for one in find_model_layers(model, shapes)}


def test_a_float_model_lacks_all_pairs() -> None:
    layers = by_name(two_convs())
    assert [one.lacking for one in layers.values()] == ["its input and its weights"] * 2
    assert not any(one.has_pairs or one.constant for one in layers.values())


def test_a_quantized_model_has_them() -> None:
    layers = by_name(quantized(two_convs()))
    assert all(one.has_pairs and not one.fault for one in layers.values())
    assert all(one.has_pairs for one in by_name(quantized(two_convs(), weights="float")).values())


def test_pairs_reach_products_through_ops_that_move_values() -> None:
    layers = by_name(quantized(attention(), attention="int8"))
    assert list(layers) == ["n_q", "n_k", "n_v", "n_qk", "n_pv", "n_out"]
    assert all(one.has_pairs for one in layers.values())
    left = by_name(quantized(attention(), attention="float"))
    assert left["n_qk"].lacking == "its input 'q_turned' and its input 'k_turned'"


def test_multiply_adds() -> None:
    assert {name: one.macs for name, one in by_name(two_convs()).items()} == {
        "n_a": 16 * 5 * 6 * 24 * 9,
        "n_c": 16 * 5 * 6 * 16,
    }
    macs = {name: one.macs for name, one in by_name(attention()).items()}
    assert macs["n_q"] == 20 * 32 * 32
    assert macs["n_qk"] == macs["n_pv"] == 2 * 20 * 20 * 16
    assert by_name(pooled_classifier(rows=3))["n_y"].macs == 3 * 32 * 40


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "macs"),
    [
        ("Gemm", ([7, 4], [7, 5]), {"transA": 1}, 4 * 7 * 5),
        ("Gemm", ([7, 4], [5, 4]), {"transB": 1}, 4 * 7 * 5),
        ("MatMul", ([2, 3, 7, 4], [4, 5]), {}, 6 * 7 * 4 * 5),
        ("MatMul", ([7, 4], [4]), {}, 28),
        ("ConvTranspose", ([2, 8, 5, 6], [8, 3, 2, 2]), {"strides": [2, 2]}, 2 * 8 * 5 * 6 * 3 * 4),
        ("Conv", ([2, 8, 5, 6], [12, 2, 1, 1]), {"group": 4}, 2 * 12 * 5 * 6 * 2),
    ],
)
def test_multiply_adds_by_op(op: str, shapes: tuple, attributes: dict, macs: int) -> None:
    data, weight = shapes
    model = toys.model([toys.node(op, "x w", "y", **attributes)], {"x": data}, ["y"], {"w": values(*weight)})
    assert by_name(model)["y"].macs == macs


def test_open_dimensions_take_the_given_shape() -> None:
    model = two_convs()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert by_name(model)["n_a"].macs is None
    assert by_name(model, x=(4, 24, 5, 6))["n_a"].macs == 4 * 16 * 5 * 6 * 24 * 9


def test_bodies_and_nodes_without_names() -> None:
    inner = by_name(branches())
    assert set(inner) == {"n_yes", "n_no"}
    assert [one.lacking for one in inner.values()] == ["its input and its weights"] * 2
    nodes = [toys.node("MatMul", "x w", "a"), toys.node("MatMul", "a w", "y", name="twice")]
    nodes += [toys.node("MatMul", "a w", "z", name="twice")]
    model = toys.model(nodes, {"x": [3, 5]}, ["y", "z"], {"w": values(5, 5)})
    assert [(p.name, p.layer, p.unique) for p in find_model_layers(model, {})] == [
        ("a", "node_of_a", True),
        ("twice", "twice", False),
        ("twice", "twice", False),
    ]


def test_computed_weights_are_named_by_what_computes_them() -> None:
    nodes = [
        toys.node("Cast", "half", "w", to=onnx.TensorProto.FLOAT),
        toys.node("MatMul", "x w", "a"),
        toys.node("ReduceSum", "x", "s", keepdims=1),
        toys.node("Mul", "kernel s", "k"),
        toys.node("Conv", "image k", "y"),
        toys.node("MatMul", "w w", "z"),
    ]
    constants = {"half": values(6, 6).astype(np.float16), "kernel": values(4, 4, 1, 1)}
    model = toys.model(nodes, {"x": [3, 6], "image": [1, 4, 5, 5]}, ["a", "y", "z"], constants)
    layers = by_name(model)
    assert layers["a"].lacking == "its input 'x' and its weights, which Cast computes"
    assert layers["y"].lacking == "its input and its weights, which the model computes at run time"
    assert [layers[name].constant for name in ("a", "y", "z")] == [False, False, True]


def change_scale(name: str, value: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type in ("DequantizeLinear", "QuantizeLinear") and name in node.name:
                tensors = {tensor.name: tensor for tensor in model.graph.initializer}
                like = np.full(value.shape, 0, np.int8)
                for at, array in ((1, value), (2, like)):
                    tensors[node.input[at]].CopyFrom(onnx.numpy_helper.from_array(array, node.input[at]))

    return change


def turn_axis(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.name == "w_c_DequantizeLinear")
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("axis", 1))


def compute_scale(model: onnx.ModelProto) -> None:
    scale = next(node for node in model.graph.node if node.name == "r_DequantizeLinear").input[1]
    model.graph.node.insert(0, toys.node("Abs", scale, "computed"))
    for node in model.graph.node:
        if node.name.startswith("r_"):
            node.input[1] = "computed"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (change_scale("r_", np.full(16, 0.1, np.float32)), "is per channel"),
        (change_scale("r_", np.full(1, 0.1, np.float32)), "is of shape [1], not a scalar"),
        (turn_axis, "scales along axis 1, not along output channels"),
        (compute_scale, "is computed, not stored"),
    ],
)
def test_faults_of_pairs(change: Callable[[onnx.ModelProto], None], fault: str) -> None:
    model = quantized(two_convs())
    change(model)
    layers = by_name(model)
    assert fault in layers["n_c"].fault
    assert not layers["n_a"].fault and layers["n_c"].has_pairs
