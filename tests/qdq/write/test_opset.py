"""A raised model computes what it computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from helpers import toys
from onnx import helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.exporter import export_model
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.export_target import with_opset
from onnx_trtcal.qdq.write.opset import raise_opset

F = np.float32
# opset before, node(s), input shape, constants
CASES = {
    "squeeze": (11, [toys.node("Squeeze", "x", "y", axes=[1])], (2, 1, 3), {}),
    "unsqueeze": (11, [toys.node("Unsqueeze", "x", "y", axes=[0, 2])], (2, 3), {}),
    "reduce-sum": (11, [toys.node("ReduceSum", "x", "y", axes=[1], keepdims=0)], (2, 3, 4), {}),
    "reduce-mean": (13, [toys.node("ReduceMean", "x", "y", axes=[-1])], (2, 3, 4), {}),
    "reduce-all": (11, [toys.node("ReduceMax", "x", "y")], (2, 3), {}),
    "split": (11, [toys.node("Split", "x", "a y", axis=1, split=[1, 3])], (2, 4), {}),
    "split-even": (11, [toys.node("Split", "x", "a y", axis=1)], (2, 4), {}),
    "clip": (10, [toys.node("Clip", "x", "y", min=-0.5, max=0.25)], (2, 4), {}),
    "clip-one-side": (8, [toys.node("Clip", "x", "y", max=0.25)], (2, 4), {}),
    "pad": (10, [toys.node("Pad", "x", "y", pads=[0, 1, 0, 2], value=3.0)], (2, 4), {}),
    "slice": (9, [toys.node("Slice", "x", "y", starts=[1], ends=[3], axes=[1])], (2, 4), {}),
    "topk": (9, [toys.node("TopK", "x", "y i", k=2)], (2, 4), {}),
    "dropout": (9, [toys.node("Dropout", "x", "y", ratio=0.3)], (2, 4), {}),
    "softmax-last": (11, [toys.node("Softmax", "x", "y", axis=-1)], (2, 3, 4), {}),
    "softmax-flat": (11, [toys.node("Softmax", "x", "y", axis=1)], (2, 3, 4), {}),
    "softmax-default": (9, [toys.node("LogSoftmax", "x", "y")], (2, 3, 4), {}),
    "softmax-ones": (9, [toys.node("Softmax", "x", "y")], (2, 3, 1, 1), {}),
    "upsample": (
        9,
        [toys.node("Upsample", "x s", "y", mode="nearest")],
        (1, 2, 3, 3),
        {"s": F([1, 1, 2, 2])},
    ),
    "upsample-old": (
        8,
        [toys.node("Upsample", "x", "y", mode="linear", scales=[1.0, 1, 2, 3])],
        (1, 2, 3, 3),
        {},
    ),
    "resize": (
        10,
        [toys.node("Resize", "x s", "y", mode="nearest")],
        (1, 2, 4, 4),
        {"s": F([1, 1, 1.5, 0.5])},
    ),
    "reshape": (8, [toys.node("Reshape", "x s", "y")], (2, 6), {"s": np.array([4, 3])}),
    "pool": (8, [toys.node("AveragePool", "x", "y", kernel_shape=[2, 2], pads=[1] * 4)], (1, 2, 4, 4), {}),
}


@pytest.mark.parametrize("target", [13, 19])
@pytest.mark.parametrize("case", CASES)
def test_computes_the_same(case: str, target: int) -> None:
    opset, nodes, shape, constants = CASES[case]
    model = toys.model(nodes, {"x": list(shape)}, ["y"], constants, opset=opset)
    values = np.random.default_rng(0).normal(0, 1, shape).astype(F)
    loaded = load(model)
    graph = import_graph(loaded)
    raise_opset(graph, target)
    raised = export_model(graph, with_opset(loaded, target))
    assert raised.opset_import[0].version == max(target, opset)
    np.testing.assert_allclose(
        toys.run(raised, {"x": values})[0], toys.run(model, {"x": values})[0], rtol=1e-5, atol=1e-6
    )


def test_subgraphs_are_raised_too() -> None:
    branches = [
        helper.make_graph(
            [toys.node("Unsqueeze", "x", name, axes=[0])],
            name,
            [],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
        )
        for name in ("yes", "no")
    ]
    node = toys.node("If", "c", "y", then_branch=branches[0], else_branch=branches[1])
    model = toys.model([node], {"c": [], "x": [2]}, ["y"], opset=11, dtypes={"c": onnx.TensorProto.BOOL})
    loaded = load(model)
    graph = import_graph(loaded)
    raise_opset(graph, 13)
    raised = export_model(graph, with_opset(loaded, 13))
    feeds = {"c": np.array(True), "x": F([1, 2])}
    np.testing.assert_array_equal(toys.run(raised, feeds)[0], F([[1, 2]]))


def test_never_lowers() -> None:
    graph = import_graph(load(toys.model([toys.node("Relu", "x", "y")], {"x": [2]}, ["y"], opset=17)))
    raise_opset(graph, 13)
    assert graph.opset == 17


def test_an_operator_that_onnx_does_not_define_stays_as_it_is() -> None:
    node = toys.node("CropAndResize_TRT", "x", "y", crop=7)
    graph = gs.import_onnx(toys.model([node], {"x": [1, 1, 2, 2]}, ["y"], opset=9))
    raise_opset(graph, 13)
    assert graph.opset == 13 and graph.nodes[0].attrs == {"crop": 7}


def test_what_cannot_be_raised_is_refused() -> None:
    node = toys.node("Relu", "x", "y", name="culprit")
    model = toys.model([node], {"x": [1, 1, 2, 2]}, ["y"], opset=6)
    graph = gs.import_onnx(model)
    with pytest.raises(ModelError, match="opset 13"):
        raise_opset(graph, 13)
