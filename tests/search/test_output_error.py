"""The error at the outputs against a network run from end to end with one tensor quantized by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers.toys import model, node

from onnx_trtcal.graph.output_blocks import output_blocks
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.output_error import OutputError, comparable_outputs, promising
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.search.subgraph_runner import quantized
from onnx_trtcal.search.task import int8_placement, quantized_reads

RNG = np.random.default_rng(0)
W1 = RNG.normal(size=(8, 6)).astype(np.float32)
W2 = RNG.normal(size=(6, 6)).astype(np.float32)
W3 = RNG.normal(size=(6, 4)).astype(np.float32)


def branched(end: tuple[onnx.NodeProto, ...] = (), outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
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


def output_error(proto: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> tuple[OutputError, dict]:
    prepared = prepare(proto, Options(provider="cpu"))
    reads = quantized_reads(prepared, int8_placement(prepared), set(prepared.plan.observed))
    graph = ExportedGraph(prepared.folded, prepared.model)
    layouts = output_blocks(prepared.model, prepared.folded, comparable_outputs(graph))
    error = OutputError(graph, samples, (choose_provider("cpu"), 1, ()), layouts)
    return error, {name: activations for names, activations in reads.items() for name in names}


def slow(x: np.ndarray, tensor: str = "", threshold: float = 0.0) -> np.ndarray:
    """The network in float64, with one tensor quantized where an INT8 kernel reads it."""

    def read(name: str, values: np.ndarray) -> np.ndarray:
        return quantized(values, threshold) if name == tensor else values

    a = np.maximum(read("x", x) @ W1, 0)
    # The Mul takes the pair that the product reads.
    c = read("a", a) * np.tanh(read("a", a) @ W2)
    return np.asarray(read("c", c) @ W3)


@pytest.mark.parametrize("tensor", ["x", "a", "c"])
def test_error_is_that_of_the_network_with_one_tensor_quantized(tensor: str) -> None:
    rows = RNG.normal(size=(8, 1, 8)).astype(np.float32)
    error_at_outputs, reads = output_error(branched(), [{"x": row} for row in rows])
    thresholds = {"far": 3.0, "near": 2.0}
    found = error_at_outputs.of(reads[tensor], thresholds)
    assert found
    exact = [slow(row.astype(np.float64)) for row in rows]
    signal = sum((y**2).sum() for y in exact)
    for name, error in found.items():
        got = [slow(row.astype(np.float64), tensor, thresholds[name]) for row in rows]
        noise = sum(((y - z) ** 2).sum() for y, z in zip(exact, got, strict=True))
        # A value next to a rounding boundary may fall on the other side in float32.
        assert error == pytest.approx(noise / signal, rel=5e-2)


def test_a_choice_is_compared_by_what_it_is_chosen_from() -> None:
    proto = branched((node("TopK", "y k", "best at"), node("Neg", "best", "z")), ("z", "y"))
    prepared = prepare(proto, Options(provider="cpu"))
    assert comparable_outputs(ExportedGraph(prepared.folded, prepared.model)) == ("y",)
    proto = branched((node("ArgMax", "y", "at"),), ("at",))
    rows = RNG.normal(size=(4, 1, 8)).astype(np.float32)
    error_at_outputs, reads = output_error(proto, [{"x": row} for row in rows])
    assert all(error > 0 for error in error_at_outputs.of(reads["a"], {"one": 1.0, "two": 2.0}).values())


def test_only_what_is_far_off_is_dropped() -> None:
    assert promising({"a": 1.0, "b": 30.0, "c": 31.0, "d": 2.0}) == ["a", "b", "d"]
    assert promising({"a": 0.0, "b": 0.0, "c": 1.0}) == ["a", "b"]
