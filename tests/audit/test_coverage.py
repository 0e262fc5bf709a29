"""Coverage of toy models: what is covered, what is missing and what that costs, with and without a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers.toys import model, node
from onnx import TensorProto

from onnx_trtcal.audit.coverage import NO_SUCH_TENSOR, Coverage, check
from onnx_trtcal.errors import CacheError, ModelError
from onnx_trtcal.trt.build_log import parse_log
from onnx_trtcal.trt.cache import Cache, write_cache

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.audit.gaps import Gap

HEADER = "TRT-8601-EntropyCalibration2"
FLOATS = ["x", "conv", "relu", "pool", "flat", "sum"]


@pytest.fixture(scope="module")
def net() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w", "conv"),
        node("Relu", "conv", "relu"),
        node("MaxPool", "relu", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Constant", "", "stored", value=onnx.numpy_helper.from_array(np.array([1, -1]))),
        node("Reshape", "pool stored", "flat"),
        node("Mul", "flat slope", "sum"),
        node("Shape", "sum", "dims"),
    ]
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), "slope": np.array([-0.5], np.float32)}
    return model(
        nodes, {"x": [1, 3, 8, 8]}, {"sum": None, "dims": None}, weights, dtypes={"dims": TensorProto.INT64}
    )


def run(net: onnx.ModelProto, names: list[str], log: str = "", **scales: float) -> Coverage:
    entries = {name: float(index + 1) for index, name in enumerate(names)}
    return check(net, Cache(HEADER, entries | scales), parse_log(log.splitlines()) if log else None)


def costs(coverage: Coverage) -> dict[str, str]:
    return {gap.tensor: gap.costs for gap in coverage.gaps}


def gap(coverage: Coverage, name: str) -> Gap:
    return next(item for item in coverage.gaps if item.tensor == name)


def test_all_covered(net: onnx.ModelProto) -> None:
    coverage = run(net, FLOATS)
    assert coverage.complete
    assert coverage.covered == tuple(FLOATS)
    assert costs(coverage) == {"stored": "no", "dims": "no"}
    assert "constant" in gap(coverage, "stored").why
    assert "integers" in gap(coverage, "dims").why
    assert (coverage.idle, coverage.unknown, coverage.zeros) == ({}, {}, ())


def test_what_each_gap_costs(net: onnx.ModelProto) -> None:
    coverage = run(net, [])
    assert not coverage.complete
    assert costs(coverage) == dict.fromkeys(FLOATS, "yes") | {
        "conv": "maybe",
        "stored": "no",
        "dims": "no",
    }
    assert "group that makes 'relu'" in gap(coverage, "conv").why
    assert all(item.offer is None for item in coverage.gaps)


def test_a_gap_in_a_kernel_is_no_full_cover(net: onnx.ModelProto) -> None:
    assert not run(net, [name for name in FLOATS if name != "conv"]).complete


def test_offers_come_from_tensors_that_share_a_scale(net: onnx.ModelProto) -> None:
    cache = Cache(HEADER, {"x": 1.0, "relu": 2.0, "sum": 3.0})
    coverage = check(net, cache)
    completed = coverage.completed(cache)
    assert dict(completed.scales) == dict(cache.scales) | {"conv": 2.0, "pool": 2.0, "flat": 2.0}
    assert check(net, completed).complete
    from_pool = run(net, ["x", "pool", "sum"])
    assert (gap(from_pool, "relu").offer, gap(from_pool, "flat").offer) == (2.0, 2.0)
    assert gap(from_pool, "conv").offer is None  # what the kernel makes is not what is inside it


def test_unusable_entries(net: onnx.ModelProto) -> None:
    coverage = run(net, FLOATS, conv=math.inf, x=0.0)
    assert "infinite" in gap(coverage, "conv").why
    assert gap(coverage, "conv").costs == "yes"
    assert coverage.zeros == ("x",)
    assert coverage.completed(Cache(HEADER, {"conv": math.inf, "x": 0.0})).scales["conv"] == 3.0


def test_entries_of_nothing(net: onnx.ModelProto) -> None:
    names = [
        "w",
        "stored",
        "dims",
        "other",
        "slope_output",
        "slope_3_output",
        "(Unnamed Layer* 3) [Shuffle]_output",
    ]
    coverage = run(net, FLOATS + names)
    assert coverage.complete
    assert list(coverage.idle) == ["w", "stored", "dims"]
    assert coverage.unknown["other"] == NO_SUCH_TENSOR
    assert "constant" in coverage.unknown["slope_output"]
    assert coverage.unknown["slope_output"] == coverage.unknown["slope_3_output"]
    assert "adds on its own" in coverage.unknown["(Unnamed Layer* 3) [Shuffle]_output"]


NETWORK = """\
[V] [TRT] Adding network input: x with dtype: float32, dimensions: (1, 3, 8, 8)
[V] [TRT] Registering tensor: conv for ONNX tensor: conv
[V] [TRT] Conv_0 [Conv] outputs: [conv -> (1, 4, 8, 8)[FLOAT]], 
[V] [TRT] Registering tensor: relu for ONNX tensor: relu
[V] [TRT] Relu_1 [Relu] outputs: [relu -> (1, 4, 8, 8)[FLOAT]], 
[V] [TRT] Registering tensor: pool for ONNX tensor: pool
[V] [TRT] MaxPool_2 [MaxPool] outputs: [pool -> (1, 4, 4, 4)[FLOAT]], 
[V] [TRT] Registering tensor: sum_0 for ONNX tensor: sum
[V] [TRT] Mul_4 [Mul] outputs: [sum -> (1, 64)[FLOAT]], 
[V] [TRT] Marking sum_0 as output: sum
[V] [TRT] ConstShuffleFusion: Fusing slope with (Unnamed Layer* 5) [Shuffle]
"""
SCALE = (
    "[V] [TRT] INT8 Inference Tensor scales and zero-points: {} scale and zero-point "
    "Quantization(scale: {{{},}}, zero-point: {{}})\n"
)
REJECT = (
    "[V] [TRT] Rejecting some int8 implementation of layer {} due to missing int8 scales for tensor {} at input "
    "index 0\n"
)
MISSING = (
    "[W] [TRT] Missing scale and zero-point for tensor {}, expect fall back to non-int8 implementation for any "
    "layer consuming or producing given tensor\n"
)


def test_log_agrees(net: onnx.ModelProto) -> None:
    log = NETWORK + SCALE.format("x", "1") + SCALE.format("sum", "3") + REJECT.format("Pool_2", "relu")
    coverage = run(net, ["x", "pool", "sum", "old"], log)
    account = coverage.triage
    assert account is not None
    assert account.network == ("x", "conv", "relu", "pool", "sum")
    assert (account.applied, account.differing) == (("x", "sum"), ())
    assert account.ignored == ("pool", "old")
    assert account.lacking == ("conv", "relu")
    assert dict(account.blamed) == {"relu": ("Pool_2",)}
    assert gap(coverage, "relu").why == "TensorRT's log: no INT8 for Pool_2"
    # The log's network has no such tensor: TensorRT took it out.
    assert gap(coverage, "flat").costs == "no"
    assert gap(coverage, "conv").costs == "maybe"


def test_constants_get_the_value_they_need(net: onnx.ModelProto) -> None:
    coverage = run(net, FLOATS, NETWORK)
    needed = float(np.float32(0.5) / np.float32(127))
    offers = {item.tensor: item.offer for item in coverage.gaps if item.offer is not None}
    assert offers == {
        "(Unnamed Layer* 5) [Shuffle]_output": needed,
        "(Unnamed Layer* 4) [Constant]_output": needed,
    }
    assert coverage.complete
    again = check(
        net, coverage.completed(Cache(HEADER, dict.fromkeys(FLOATS, 1.0))), parse_log(NETWORK.splitlines())
    )
    assert [item.entry for item in again.triage.constants] == [needed, needed]
    assert not [item for item in again.gaps if item.offer is not None]


def test_warnings_count(net: onnx.ModelProto) -> None:
    log = MISSING.format("slope_output") + MISSING.format("(Unnamed Layer* 9) [Matrix Multiply]_output")
    coverage = run(net, FLOATS, log)
    assert not coverage.complete
    assert gap(coverage, "slope_output").costs == "maybe"
    assert gap(coverage, "slope_output").offer == pytest.approx(0.5 / 127)
    helper = gap(coverage, "(Unnamed Layer* 9) [Matrix Multiply]_output")
    assert (helper.costs, helper.offer) == ("yes", None)


def test_log_of_another_build(net: onnx.ModelProto) -> None:
    coverage = run(net, FLOATS, SCALE.format("x", "0.25") + SCALE.format("gone", "1"))
    assert coverage.triage.differing == (("x", 1.0, 0.25), ("gone", None, 1.0))
    refused = run(net, FLOATS, "[E] Calibration table does not match calibrator algorithm type.")
    assert not refused.complete


def test_types_in_the_log_decide(net: onnx.ModelProto) -> None:
    log = NETWORK.replace("[pool -> (1, 4, 4, 4)[FLOAT]]", "[pool -> (1, 4, 4, 4)[INT32]]")
    coverage = run(net, ["x", "sum"], log)
    assert gap(coverage, "pool").costs == "no"
    assert "INT32" in gap(coverage, "pool").why


def test_files(net: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(net, tmp_path / "m.onnx")
    write_cache(tmp_path / "m.cache", Cache(HEADER, dict.fromkeys(FLOATS, 1.0)))
    (tmp_path / "m.log").write_text(NETWORK)
    assert check(tmp_path / "m.onnx", tmp_path / "m.cache", tmp_path / "m.log").complete
    with pytest.raises(CacheError):
        check(tmp_path / "m.onnx", tmp_path / "absent")
    with pytest.raises(ModelError):
        check(tmp_path / "absent.onnx", tmp_path / "m.cache")


def test_quantized_model_is_named() -> None:
    nodes = [node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "y")]
    proto = model(nodes, {"x": [1, 4]}, ["y"], {"s": np.array(0.5, np.float32)})
    coverage = check(proto, Cache(HEADER, {}))
    assert coverage.quantized == ("DequantizeLinear", "QuantizeLinear")


def test_entries_of_the_folded_model_are_known() -> None:
    names = ("g", "b", "m", "v")
    weights = {"w": np.ones((4, 4), np.float32), **{name: np.ones(4, np.float32) for name in names}}
    nodes = [node("MatMul", "x w", "p"), node("BatchNormalization", "p g b m v", "y")]
    net = model(nodes, {"x": ["N", 4]}, ["y"], weights)
    coverage = run(net, ["x", "p", "y", "p.folded", "q.folded"])
    assert coverage.complete
    assert "BatchNorm folded" in coverage.unknown["p.folded"]
    assert coverage.unknown["q.folded"] == NO_SUCH_TENSOR


def test_a_gap_behind_a_plugin_costs_only_what_a_layer_could_gain() -> None:
    def gaps(*behind: onnx.NodeProto) -> dict[str, str]:
        nodes = [node("Conv", "x w", "c"), node("Peaks", "c", "p", domain="acme", name="peaks"), *behind]
        net = model(
            nodes, {"x": (1, 3, 4, 4)}, [nodes[-1].output[0]], {"w": np.ones((3, 3, 1, 1), np.float32)}
        )
        coverage = check(net, Cache(HEADER, {"x": 1.0, "c": 1.0}))
        assert coverage.complete == all(gap.costs == "no" for gap in coverage.gaps)
        return {gap.tensor: gap.costs for gap in coverage.gaps}

    assert gaps(node("Sigmoid", "p", "s")) == {"p": "no", "s": "no"}
    assert gaps(node("Conv", "p w", "d"), node("Sigmoid", "d", "s")) == dict.fromkeys("pds", "yes")


def test_tensors_of_functions_are_counted() -> None:
    net = model([node("Block", "x", "y", domain="mine")], {"x": (1, 3)}, ["y"])
    net.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    body = [node("Exp", "a", "t"), node("Softmax", "t", "b")]
    opsets = [onnx.helper.make_opsetid("", 17)]
    net.functions.append(onnx.helper.make_function("mine", "Block", ["a"], ["b"], body, opsets))
    coverage = check(net, Cache(HEADER, {"x": 1.0, "y": 1.0}))
    assert [gap.costs for gap in coverage.gaps] == ["yes"] and coverage.covered == ("x", "y")
