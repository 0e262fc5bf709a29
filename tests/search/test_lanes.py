"""Variants that are run together against each alone, and graphs whose rows cannot be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers.toys import model, node

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import Prepared, prepare
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.float_network import FloatNetwork, elem_type
from onnx_trtcal.search.lanes import is_stack
from onnx_trtcal.search.lone_tensor import LoneTensor, LoneTensorMeter
from onnx_trtcal.search.objective import Objective
from onnx_trtcal.search.outputs import before_softmax, comparable_outputs
from onnx_trtcal.search.paired_graph import Pairs
from onnx_trtcal.search.paired_network import PairedNetwork
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.search.task import int8_placement, quantized_reads
from onnx_trtcal.search.variants import VariantMeter
from onnx_trtcal.search.workers import Workers

RNG = np.random.default_rng(0)
W1, W2, W3 = (RNG.normal(size=shape).astype(np.float32) for shape in ((8, 6), (6, 6), (6, 4)))
OPTIONS = (choose_provider("cpu"), 1, ())


def branched(*end: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """a = relu(x W1), y = (a tanh(a W2)) W3: `a` is read by an INT8 kernel and by a Mul in floating point."""
    return model(
        [
            node("MatMul", "x w1", "a0"),
            node("Relu", "a0", "a"),
            node("MatMul", "a w2", "b0"),
            node("Tanh", "b0", "b"),
            node("Mul", "a b", "c"),
            node("MatMul", "c w3", "y"),
            *end,
        ],
        {"x": ("N", 8)},
        outputs,
        {"w1": W1, "w2": W2, "w3": W3, "k": np.array([2], np.int64)},
        dtypes={"at": onnx.TensorProto.INT64},
    )


def graph_of(proto: onnx.ModelProto) -> tuple[Prepared, ExportedGraph]:
    prepared = prepare(proto, Options(provider="cpu"))
    return prepared, ExportedGraph(prepared.folded, prepared.model)


def slow(x: np.ndarray, tensor: str, threshold: float) -> np.ndarray:
    """The network in float64, with one tensor quantized where an INT8 kernel reads it."""

    def read(name: str, values: np.ndarray) -> np.ndarray:
        if name != tensor:
            return values
        scale = np.float32(threshold) / np.float32(127)
        return np.asarray(np.clip(np.rint(values.astype(np.float32) / scale), -128, 127) * scale)

    a = np.maximum(read("x", x) @ W1, 0)
    # The Mul takes the pair that the product reads.
    c = read("a", a) * np.tanh(read("a", a) @ W2)
    return np.asarray(read("c", c) @ W3)


@pytest.mark.parametrize("tensor", ["x", "a", "c"])
@pytest.mark.parametrize("lanes", [True, False])
def test_a_lone_tensor_has_the_error_of_the_network_with_it_quantized(tensor: str, lanes: bool) -> None:
    prepared, graph = graph_of(branched())
    rows = RNG.normal(size=(8, 1, 8)).astype(np.float32)
    samples = [{"x": row} for row in rows]
    reads = quantized_reads(prepared, int8_placement(prepared), set(prepared.plan.observed))
    lone = LoneTensor(graph, reads[(tensor,)], ("y",))
    exact = FloatNetwork(graph, ("y",), samples, OPTIONS, 1 << 20)
    values = FloatNetwork(graph, (tensor, *lone.tensors), samples, OPTIONS, 1 << 20)
    thresholds = [3.0, 2.0, 1.0]
    with Workers(2) as workers:
        meter = VariantMeter(exact, Objective({}, [exact.floats(at) for at in range(8)]), workers)
        lone_meter = LoneTensorMeter(values, range(8), meter, OPTIONS, lanes=lanes)
        network = lone_meter.network(lone)
        assert (network.lanes > 1) == lanes
        found = lone_meter.errors(network, lone, thresholds)
    signal = sum((slow(row.astype(np.float64), "", 0) ** 2).sum() for row in rows)
    for threshold, error in zip(thresholds, found, strict=True):
        x = [row.astype(np.float64) for row in rows]
        noise = sum(((slow(row, "", 0) - slow(row, tensor, threshold)) ** 2).sum() for row in x)
        # A value next to a rounding boundary may fall on the other side in float32.
        assert error == pytest.approx(noise / signal, rel=5e-2)


def paired(proto: onnx.ModelProto, example: np.ndarray) -> tuple[PairedNetwork, FloatNetwork]:
    prepared, graph = graph_of(proto)
    placement = int8_placement(prepared)
    tensors = [each.tensor for each in placement.activations]
    values = FloatNetwork(graph, tensors, [{"x": example}], OPTIONS, 1 << 20)
    pairs = Pairs(placement.activations, {name: elem_type(values.values(0)[name]) for name in tensors})
    nodes = range(len(graph.nodes))
    return PairedNetwork(graph, nodes, graph.outputs, pairs, {"x": example}, OPTIONS), values


def test_variants_give_together_what_they_give_alone() -> None:
    rows = RNG.normal(size=(5, 1, 8)).astype(np.float32)
    network, values = paired(branched(), rows[0])
    tensors = list(values.values(0))
    scales = [{name: float(RNG.uniform(0.01, 0.05)) for name in tensors} for _ in rows]
    feeds = [{"x": row} for row in rows]
    alone = [network.run([feed], [scale])[0]["y"] for feed, scale in zip(feeds, scales, strict=True)]
    assert values.stackable.issuperset(tensors)
    network.use_lanes(3, dict.fromkeys(tensors, 1), feeds[0])
    network.confirm_lanes(feeds[0], scales[0])
    assert network.lanes == 3
    assert network.chunks(feeds) == [[0, 1, 2], [3, 4]]
    for chunk in network.chunks(feeds):
        together = network.run([feeds[at] for at in chunk], [scales[at] for at in chunk])
        for at, outputs in zip(chunk, together, strict=True):
            assert outputs["y"] == pytest.approx(alone[at], rel=1e-5, abs=1e-6)


def test_samples_of_another_shape_run_alone() -> None:
    network, values = paired(branched(), np.zeros((1, 8), np.float32))
    network.use_lanes(8, dict.fromkeys(values.values(0), 1), {"x": np.zeros((1, 8))})
    sizes = [1, 1, 2, 1, 2, 2, 1, 1]
    assert network.chunks([{"x": np.zeros((size, 8))} for size in sizes]) == [
        [0, 1],
        [2],
        [3],
        [4],
        [5],
        [6, 7],
    ]


def test_a_graph_that_mixes_rows_gets_no_lanes() -> None:
    """The first layer's input has the mean over the batch taken off."""
    proto = model(
        [node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m", "v"), node("MatMul", "v w1", "y")],
        {"x": ("N", 8)},
        ("y",),
        {"w1": W1},
        opset=13,
    )
    _, graph = graph_of(proto)
    samples = [{"x": RNG.normal(size=(1, 8)).astype(np.float32)} for _ in range(2)]
    assert not FloatNetwork(graph, ("v",), samples, OPTIONS, 1 << 20).stackable


def test_rows_that_are_off_are_no_stack() -> None:
    one, other = RNG.normal(size=(2, 1, 3)).astype(np.float32)
    whole = np.concatenate([one, other])
    assert is_stack(whole * np.float32(1 + 1e-6), [one, other])
    assert not is_stack(whole[::-1], [one, other])
    assert not is_stack(whole[:1], [one, other])
    assert not is_stack(np.float32(1), [np.float32(1)])


def test_little_memory_changes_nothing() -> None:
    _, graph = graph_of(branched())
    samples = [{"x": row} for row in RNG.normal(size=(3, 1, 8)).astype(np.float32)]
    much, none = (FloatNetwork(graph, ("a", "y"), samples, OPTIONS, size) for size in (1 << 20, 0))
    for at in range(3):
        for name in ("a", "y"):
            assert np.array_equal(much.values(at)[name], none.values(at)[name])


def test_a_choice_is_compared_by_what_it_is_chosen_from() -> None:
    two = (node("TopK", "y k", "best at"), node("Neg", "best", "z"))
    assert comparable_outputs(graph_of(branched(*two, outputs=("z", "y")))[1]) == ("y",)
    assert comparable_outputs(graph_of(branched(node("ArgMax", "y", "at"), outputs=("at",)))[1]) == ("y",)


def test_a_classifier_is_compared_by_what_its_softmax_reads() -> None:
    _, graph = graph_of(branched(node("Softmax", "y", "p"), outputs=("p",)))
    assert before_softmax(graph, ("p",), {"p": ("N", 4)}) == ("y",)
    assert before_softmax(graph, ("p",), {"p": ("N", 4, 4)}) == ("p",)
    assert before_softmax(graph, ("p",), {}) == ("p",)


def test_a_sequence_is_compared_by_what_it_holds() -> None:
    held = (node("Neg", "y", "n"), node("SequenceConstruct", "n a", "s"), node("Identity", "s", "t"))
    model = branched(*held, outputs=("y",))
    value = onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None)
    model.graph.output.append(value)
    assert comparable_outputs(graph_of(model)[1]) == ("y", "n", "a")
