"""The judge against a network run from end to end with one tensor quantized by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers.toys import model, node, run

from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import prepare
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.sensitivity import Judge
from onnx_trtcal.search.subgraph import Cutter
from onnx_trtcal.search.subgraph_runner import quantized
from onnx_trtcal.search.task import to_judge
from onnx_trtcal.search.watched import watched

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


def judged(proto: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> tuple[Judge, dict]:
    prepared = prepare(proto, Options(provider="cpu"))
    groups = to_judge(prepared, set(prepared.plan.observed))
    judge = Judge(Cutter(prepared.folded, prepared.model), samples, (choose_provider("cpu"), 1, ()))
    return judge, {name: group for names, group in groups.items() for name in names}


def test_quantized_is_the_formula() -> None:
    values = np.array([-3.0, -1.26, 0.0, 0.004, 0.5, 1.27, 9.0], np.float32)
    found = quantized(values, 1.27)
    slow = [0.01 * max(-127, min(127, round(float(v) / 0.01))) for v in values]
    assert found == pytest.approx(slow, abs=1e-6)
    assert found.dtype == np.float32


def slow(x: np.ndarray, tensor: str = "", threshold: float = 0.0) -> np.ndarray:
    """The network in float64, with one tensor quantized where an INT8 kernel reads it."""

    def read(name: str, values: np.ndarray) -> np.ndarray:
        return quantized(values, threshold) if name == tensor else values

    a = np.maximum(read("x", x) @ W1, 0)
    c = a * np.tanh(read("a", a) @ W2)
    return np.asarray(read("c", c) @ W3)


@pytest.mark.parametrize("tensor", ["x", "a", "c"])
def test_error_is_that_of_the_network_with_one_tensor_quantized(tensor: str) -> None:
    rows = RNG.normal(size=(8, 1, 8)).astype(np.float32)
    judge, groups = judged(branched(), [{"x": row} for row in rows])
    thresholds = {"far": 3.0, "near": 2.0}
    found = judge.errors(groups[tensor], thresholds)
    assert found
    exact = [slow(row.astype(np.float64)) for row in rows]
    signal = sum((y**2).sum() for y in exact)
    for name, error in found.items():
        got = [slow(row.astype(np.float64), tensor, thresholds[name]) for row in rows]
        noise = sum(((y - z) ** 2).sum() for y, z in zip(exact, got, strict=True))
        # A value next to a rounding boundary may fall on the other side in float32.
        assert error == pytest.approx(noise / signal, rel=5e-2)


def test_what_is_chosen_is_judged_by_what_it_is_chosen_from() -> None:
    proto = branched((node("TopK", "y k", "best at"), node("Neg", "best", "z")), ("z", "y"))
    prepared = prepare(proto, Options(provider="cpu"))
    assert watched(Cutter(prepared.folded, prepared.model)) == ("y",)
    proto = branched((node("ArgMax", "y", "at"),), ("at",))
    rows = RNG.normal(size=(4, 1, 8)).astype(np.float32)
    judge, groups = judged(proto, [{"x": row} for row in rows])
    assert all(error > 0 for error in judge.errors(groups["a"], {"one": 1.0, "two": 2.0}).values())


def test_a_cut_runs_from_its_boundary_to_what_is_wanted() -> None:
    proto = branched()
    prepared = prepare(proto, Options(provider="cpu"))
    cutter = Cutter(prepared.folded, prepared.model)
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    before = cutter.before(["b"])
    first = onnx.load_from_string(cutter.model(before, {"x": 1}, ["a", "b"]).model_bytes)
    a, b = run(first, {"x": x})
    behind = [at for at in range(len(cutter.nodes)) if at not in before]
    assert sorted(cutter.boundary(behind)) == ["a", "b"]
    second = onnx.load_from_string(cutter.model(behind, {"a": 1, "b": 1}, ["y"]).model_bytes)
    assert {tensor.name for tensor in second.graph.initializer} == {"w3"}
    assert run(second, {"a": a, "b": b})[0] == pytest.approx(run(proto, {"x": x})[0], rel=1e-5)
