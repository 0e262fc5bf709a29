"""Which tensors have a size that depends on values."""

from __future__ import annotations

import numpy as np
import onnx
from helpers import toys
from helpers.picking import dynamic_classes, picking

from onnx_trtcal.graph.data_dependent import DataDependent, data_dependent
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.view import link


def found(proto: onnx.ModelProto) -> DataDependent:
    model = load(proto)
    return data_dependent(model, link(import_graph(model)))


def test_everything_behind_a_pick_and_nothing_before_it() -> None:
    sizes = found(picking(0.5))
    assert {"places", "which", "picked", "hidden", "kept", "y"} <= sizes.tensors
    assert sizes.tensors.isdisjoint({"x", "scored", "all", "best", "above"})
    assert {"picked", "hidden", "y"} <= sizes.rowless


def test_what_is_scattered_back_has_the_size_it_had() -> None:
    sizes = found(dynamic_classes())
    assert "values" in sizes.tensors
    assert sizes.tensors.isdisjoint({"same", "y"})


def test_a_size_computed_from_shapes_depends_on_no_value() -> None:
    nodes = [
        toys.node("Shape", "x", "s"),
        toys.node("Slice", "s one two", "width"),
        toys.node("ConstantOfShape", "width", "zeros"),
        toys.node("Concat", "x zeros", "y", axis=0),
    ]
    model = toys.model(nodes, {"x": ["length"]}, ["y"], {"one": np.array([0]), "two": np.array([1])})
    assert found(model) == DataDependent(frozenset(), frozenset())


def test_a_size_computed_from_values_does() -> None:
    nodes = [
        toys.node("ReduceMax", "lengths", "most", keepdims=1),
        toys.node("Slice", "x zero most", "cut"),
        toys.node("Relu", "cut", "y"),
    ]
    model = toys.model(
        nodes,
        {"x": ["time", 8], "lengths": ["n"]},
        {"y": ["steps", 8]},
        {"zero": np.array([0])},
        dtypes={"lengths": onnx.TensorProto.INT64},
    )
    assert found(model).rowless == {"cut", "y"}


def test_a_size_of_another_axis_leaves_the_samples_apart() -> None:
    nodes = [
        toys.node("Greater", "x zero", "above"),
        toys.node("Compress", "x flags", "some", axis=1),
        toys.node("Relu", "some", "y"),
    ]
    model = toys.model(
        nodes[1:],
        {"x": ["n", 8], "flags": [8]},
        {"y": ["n", "k"]},
        dtypes={"flags": onnx.TensorProto.BOOL},
    )
    sizes = found(model)
    assert "y" in sizes.tensors and "y" not in sizes.rowless
