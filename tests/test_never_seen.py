"""Tensors that held no value in any sample: their scale is made up, and no verb quantizes with it in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.picking import picking, stacks
from helpers.small import RecordingListener

from onnx_trtcal import (
    Cache,
    EvaluationOptions,
    Options,
    QdqOptions,
    SensitivityOptions,
    calibrate,
    check,
    dequantize,
    evaluate,
    quantize,
    save_statistics,
    sensitivity,
    solve,
    write_cache,
)
from onnx_trtcal.cli import main
from onnx_trtcal.errors import ModelError
from onnx_trtcal.trt.sidecar import read_sidecar

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.quantization import Quantization

CPU = Options(provider="cpu")
SMALL = QdqOptions(min_channels=1, gemv=True)
NEVER = ["picked", "hidden", "kept", "y"]
HIGH = 100.0
"""A threshold that no row of the samples is above."""


def reasons(made: Quantization) -> dict[str, str]:
    return {layer.name: layer.reason for layer in made.layers}


LEFT = {
    "scored": "",
    "hidden": "the range of its input 'picked' was never seen",
    "y": "the range of its input 'kept' was never seen",
}


@pytest.fixture(params=["data", "statistics", "cache", "cache of zeros", "zeros without a sidecar"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """The same calibration in every form that scales come in."""
    options = replace(CPU, zero_scales="zeros" in request.param)
    calibration = calibrate(picking(HIGH), stacks(4), options)
    if request.param == "data":
        return stacks(4)
    if request.param == "statistics":
        save_statistics(tmp_path / "a.stats", calibration.collection)
        return tmp_path / "a.stats"
    if request.param == "zeros without a sidecar":
        write_cache(tmp_path / "a.cache", calibration.cache())
    else:
        calibration.write_cache(tmp_path / "a.cache")
    return tmp_path / "a.cache"


def test_quantize_leaves_the_layers_that_read_them(source: object) -> None:
    listener = RecordingListener()
    made = quantize(picking(HIGH), source, CPU, SMALL, listener=listener)
    assert reasons(made) == LEFT
    assert [activation.tensor for activation in made.quantized.placement.activations] == ["x"]
    (said,) = [text for text in listener.warned if "'picked'" in text]
    assert all(repr(name) in said for name in NEVER) and "stay in floating point" in said


def test_evaluate_and_sensitivity_leave_them_too_and_say_so(source: object) -> None:
    listener = RecordingListener()
    loud = [200 * sample for sample in stacks(6, seed=9)]
    result = evaluate(picking(HIGH), loud, EvaluationOptions(source, CPU, SMALL), listener=listener)
    # The input is clipped, far below what makes a row be picked.
    assert set(result.differing) == {"picked", "kept", "y"} and result.differing["y"].int8 == (0, 4)
    assert [each.name for each in result.tensors if each.read_sqnr is not None] == ["x"]
    ranked = sensitivity(
        picking(HIGH), loud, SensitivityOptions(source, CPU, SMALL, worst=1), listener=listener
    )
    assert [group.name for group in ranked.ranked] == ["scored"]
    assert sum("'picked'" in text for text in listener.warned) == 2


def test_the_sidecar_tells_them_from_zeros_that_were_seen(tmp_path: Path) -> None:
    nodes = [toys.node("Mul", "x nothing", "zero"), toys.node("MatMul", "zero w", "y")]
    weight = np.ones((16, 16), np.float32)
    model = toys.model(nodes, {"x": ["n", 16]}, {"y": ["n", 16]}, {"nothing": np.float32(0), "w": weight})
    data = [np.ones(16, np.float32)]
    for zero_scales in (False, True):
        path = tmp_path / f"{zero_scales}.cache"
        calibrate(model, data, replace(CPU, zero_scales=zero_scales)).write_cache(path)
        assert read_sidecar(path).zeros == {"zero", "y", "nothing_output"} and not read_sidecar(path).unseen
        listener = RecordingListener()
        assert reasons(quantize(model, path, CPU, SMALL, listener=listener)) == {"y": ""}
        assert not listener.warned


def test_a_scale_of_zero_travels_to_what_takes_it() -> None:
    weight = np.eye(16, dtype=np.float32)
    nodes = [
        toys.node("Relu", "x", "r"),
        toys.node("Reshape", "r shape", "flat"),
        toys.node("MatMul", "flat w", "a"),
        toys.node("MatMul", "x w", "b"),
    ]
    constants = {"w": weight, "shape": np.array([-1, 16])}
    model = toys.model(nodes, {"x": ["n", 16]}, {"a": None, "b": None}, constants)
    listener = RecordingListener()
    cache = Cache("TRT-8601-EntropyCalibration2", {"x": 0.5, "r": 0.0, "a": 0.25, "b": 0.5})
    made = quantize(model, cache, CPU, SMALL, listener=listener)
    assert reasons(made) == {"a": "the range of its input 'flat' was never seen", "b": ""}
    assert made.source.unseen == ("r", "flat")
    assert any("'r', 'flat' is 0 in the cache" in text for text in listener.warned)


def test_a_concat_keeps_its_own_scale_when_a_branch_was_never_seen() -> None:
    weight = np.eye(16, dtype=np.float32)
    nodes = [
        toys.node("Slice", "x zero zero", "none"),
        toys.node("Relu", "none", "branch"),
        toys.node("Concat", "x branch", "all", axis=0),
        toys.node("MatMul", "all w", "a"),
        toys.node("MatMul", "branch w", "b"),
    ]
    constants = {"w": weight, "zero": np.array([0])}
    model = toys.model(nodes, {"x": ["rows", 16]}, {"a": None, "b": None}, constants)
    data = [np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)]
    made = quantize(model, data, CPU, SMALL)
    assert reasons(made) == {"a": "", "b": "the range of its input 'branch' was never seen"}


def test_a_model_with_nothing_else_is_refused_with_the_reason() -> None:
    nodes = [toys.node("Slice", "x zero zero", "none"), toys.node("MatMul", "none w", "y")]
    constants = {"w": np.eye(16, dtype=np.float32), "zero": np.array([0])}
    model = toys.model(nodes, {"x": ["rows", 16]}, {"y": None}, constants)
    with pytest.raises(ModelError, match="range of its input 'none' was never seen"):
        quantize(model, [np.ones((5, 16), np.float32)], CPU, SMALL)


def test_check_names_them(tmp_path: Path) -> None:
    calibrate(picking(HIGH), stacks(4), CPU).write_cache(tmp_path / "a.cache")
    coverage = check(picking(HIGH), tmp_path / "a.cache")
    assert list(coverage.unseen) == NEVER and coverage.complete and not coverage.zeros


def test_the_way_back_says_that_they_are_made_up() -> None:
    made = quantize(picking(HIGH), stacks(4), CPU, SMALL).proto()
    back = dequantize(made)
    assert set(NEVER) <= back.scales.keys()
    assert any("'picked'" in note and "made up" in note for note in back.notes)


def test_solving_again_knows_them_from_the_statistics() -> None:
    first = calibrate(picking(HIGH), stacks(4), CPU)
    assert list(first.unseen) == NEVER
    assert list(solve(first.collection, picking(HIGH), replace(CPU, method="minmax")).unseen) == NEVER
    # Where others share their histogram, as under tie_concat, the range of all is known.
    assert not calibrate(picking(-HIGH), stacks(4), CPU).unseen


def test_the_actions_on_caches_and_compare_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(picking(HIGH), tmp_path / "m.onnx")
    for name, zeros in (("made up.cache", False), ("zeros.cache", True)):
        options = replace(CPU, zero_scales=zeros)
        calibration = calibrate(tmp_path / "m.onnx", stacks(4), options)
        calibration.write_cache(tmp_path / name)
    save_statistics(tmp_path / "m.stats", calibration.collection)
    (tmp_path / "zeros.cache.json").unlink()
    made_up, zeros_alone, stats, model, merged = (
        str(tmp_path / name) for name in ("made up.cache", "zeros.cache", "m.stats", "m.onnx", "merged.cache")
    )
    capsys.readouterr()
    for args, files in (
        (["cache", "show", made_up], [made_up]),
        (["cache", "show", zeros_alone, "--json"], [zeros_alone]),
        (["cache", "diff", made_up, zeros_alone], [made_up, zeros_alone]),
        (["cache", "merge", made_up, zeros_alone, "-o", merged], [merged]),
        (["compare", stats, model], [""]),
    ):
        assert main(args) == 0
        said = capsys.readouterr().err
        assert said.count("warning: ") == len(files), (args, said)
        for line, file in zip(said.splitlines(), files, strict=True):
            assert file in line and all(repr(name) in line for name in NEVER if name != "hidden")
            assert "is made up" in line or "no range is known" in line or "no method has a threshold" in line
