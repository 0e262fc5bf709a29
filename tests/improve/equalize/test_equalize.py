"""Equalization from end to end: what it gains, that it changes nothing else, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.compiler import needs_compiler

from onnx_trtcal import (
    Options,
    QdqOptions,
    calibrate,
    compile_model,
    dequantize,
    equalize,
    evaluate,
    lint,
    quantize,
)
from onnx_trtcal.errors import DataError, NonFiniteError, OptionError
from onnx_trtcal.evaluation.request import EvaluationOptions
from onnx_trtcal.improve.held_back import Fidelity, HeldBack
from onnx_trtcal.provenance import EQUALIZED_KEY

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration

node = toys.node
OPTIONS = Options(provider="cpu", method="minmax")


def mobile(activation: str, *, blocks: int = 2, opset: int = 17) -> onnx.ModelProto:
    """Pointwise and depthwise layers whose channels differ up to 500 times in range."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {"zero": np.float32(0), "six": np.float32(6)}
    wild = np.exp(rng.uniform(-3, 3, 16)).astype(np.float32)

    def act(data: str, out: str) -> None:
        if activation == "SiLU":
            nodes.extend([node("Sigmoid", data, f"{out}_s"), node("Mul", f"{data} {out}_s", out)])
        else:
            nodes.append(node(activation, data, out))

    def layer(data: str, out: str, weight: np.ndarray, **attributes: object) -> None:
        constants[f"{out}_w"] = weight.astype(np.float32)
        constants[f"{out}_b"] = (
            rng.normal(0, 0.1, len(weight)) * np.abs(weight).reshape(len(weight), -1).max(1)
        ).astype(np.float32)
        nodes.append(node("Conv", f"{data} {out}_w {out}_b", f"{out}_c", **attributes))
        act(f"{out}_c", out)

    data, channels = "x", 3
    for at in range(blocks):
        pointwise = rng.normal(0, channels**-0.5, (16, channels, 1, 1)) * wild[:, None, None, None]
        if channels == 16:
            pointwise /= np.roll(wild, at - 1)[None, :, None, None]
        layer(data, f"p{at}", pointwise)
        depthwise = rng.normal(0, 1 / 3, (16, 1, 3, 3)) * (np.roll(wild, at) / wild)[:, None, None, None]
        layer(f"p{at}", f"d{at}", depthwise, group=16, pads=[1, 1, 1, 1])
        data, channels = f"d{at}", 16
    constants["head_w"] = (
        rng.normal(0, 0.25, (5, 16, 1, 1)) / np.roll(wild, blocks - 1)[None, :, None, None]
    ).astype(np.float32)
    nodes.append(node("Conv", f"{data} head_w", "y"))
    return toys.model(nodes, {"x": ["N", 3, 12, 12]}, {"y": None}, constants, opset=opset)


def samples(count: int = 12, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(0, 1, (3, 12, 12)).astype(np.float32)} for _ in range(count)]


def batch(seed: int = 5, count: int = 8) -> dict[str, np.ndarray]:
    return {"x": np.stack([each["x"] for each in samples(count, seed)])}


def sqnr(model: onnx.ModelProto, int8: onnx.ModelProto) -> float:
    exact, got = (toys.run(each, batch())[0].astype(np.float64) for each in (model, int8))
    return float(10 * np.log10((exact**2).sum() / ((exact - got) ** 2).sum()))


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "level"), [("Relu", "free"), ("LeakyRelu", "free"), ("SiLU", "full")])
def test_wild_channels_gain(activation: str, level: str) -> None:
    model = mobile(activation)
    plain = quantize(model, samples(), OPTIONS)
    made = quantize(model, samples(), OPTIONS, QdqOptions(equalize=level))
    assert made.equalization is not None and made.equalization.equalized is not None, made.equalization
    assert sqnr(model, made.proto()) > sqnr(model, plain.proto()) + 4
    # The float model is the same, both before the pairs are put in and after they are taken out.
    exact = toys.run(model, batch())[0]
    assert relative(exact, toys.run(made.equalization.proto(), batch())[0]) < 1e-5
    assert not [finding for finding in lint(made.proto()) if finding.level == "error"]
    assert len([layer for layer in made.layers if not layer.reason]) == len(made.layers)
    count = sum(each.op_type == "Mul" for each in made.proto().graph.node)
    assert (count > 4) == (level == "full")


@pytest.mark.slow
def test_dequantize_gives_back_what_was_quantized() -> None:
    """Weights are kept as float here: INT8 ones come back rounded, equalized or not."""
    model = mobile("SiLU")
    made = quantize(model, samples(), OPTIONS, QdqOptions(equalize="full", weights="float"))
    back = dequantize(made.proto())
    assert relative(toys.run(model, batch())[0], toys.run(back.proto(), batch())[0]) < 1e-5
    assert dict(back.scales) == dict(made.source.scales)


@pytest.mark.slow
def test_free_does_nothing_behind_silu() -> None:
    found = equalize(mobile("SiLU"), samples(), "free", OPTIONS)
    assert found.equalized is None and "can be scaled" in found.reason
    assert found.proto() == found.original.proto


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, 13], ids=["full batches", "one is padded"])
def test_a_fixed_batch_of_two_is_equalized_as_one_sample_at_a_time(count: int) -> None:
    """Ranges over all samples are those of batches there; what is chosen and judged goes by samples."""
    one, two = mobile("Relu", blocks=1), mobile("Relu", blocks=1)
    two.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    found = [equalize(model, samples(count), "free", OPTIONS) for model in (one, two)]
    chosen = [each.equalized.changes.gains if each.equalized else () for each in found]
    assert chosen[0] and [each.alpha for each in chosen[0]] == [each.alpha for each in chosen[1]]
    judged = [(each.before.worst, each.after.worst) for each in found if each.before and each.after]
    assert judged[0] == pytest.approx(judged[1], abs=0.1)


@pytest.mark.slow
def test_neither_order_nor_batches_matter() -> None:
    model = mobile("Relu", blocks=1)
    found = []
    for data, size in ((samples(), 1), (samples()[::-1], 5)):
        options = Options(provider="cpu", method="mse", batch_size=size)
        found.append(equalize(model, data, "free", options).proto().SerializeToString(deterministic=True))
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_record() -> None:
    found = equalize(mobile("Relu"), samples(), "free", OPTIONS)
    assert found.equalized is not None
    entries = {entry.key: entry.value for entry in found.proto().metadata_props}
    record = json.loads(entries[EQUALIZED_KEY])
    changed = {gain.tensor for gain in found.equalized.changes.gains if gain.alpha is not None}
    assert record["level"] == "free" and record["tensors"].keys() == changed and not record["muls"]
    assert "p0" in record["scaled"] and "y" not in record["scaled"]
    assert len(found.details) == len(found.equalized.changes.gains)
    assert found.record()["verdict"] == found.verdict


@pytest.mark.slow
def test_evaluate_compares_what_is_comparable(tmp_path: Path) -> None:
    """Against the original, a tensor with other values is left out; against the equalized model it is there."""
    model, path = mobile("Relu"), tmp_path / "int8.onnx"
    made = quantize(model, samples(), OPTIONS, QdqOptions(equalize="free"))
    made.save(path)
    assert made.equalization is not None
    data = samples(4, seed=3)
    request = EvaluationOptions(quantized=path, options=OPTIONS)
    against_original = evaluate(model, data, request)
    against_equalized = evaluate(made.equalization.proto(), data, request)
    assert {each.name for each in against_original.tensors} == {"x", "y"}
    assert {"p0", "d0", "p1", "d1"} <= {each.name for each in against_equalized.tensors}
    assert all(each.sqnr > 15 for each in (*against_original.tensors, *against_equalized.tensors))


@pytest.mark.slow
def test_nothing_is_changed_where_nothing_is_gained() -> None:
    rng = np.random.default_rng(2)
    # Of one magnitude all of them, so that all channels have one range.
    weights = {"a": rng.choice([-0.5, 0.5], (8, 3, 1, 1)), "b": rng.choice([-0.3, 0.3], (4, 8, 1, 1))}
    nodes = [node("Conv", "x a", "c"), node("Relu", "c", "r"), node("Conv", "r b", "y")]
    constants = {name: value.astype(np.float32) for name, value in weights.items()}
    model = toys.model(nodes, {"x": ["N", 3, 12, 12]}, {"y": None}, constants)
    made = quantize(model, samples(), OPTIONS, QdqOptions(equalize="full"))
    assert made.equalization is not None and made.equalization.equalized is None
    assert made.proto() == quantize(model, samples(), OPTIONS).proto()


def test_few_values_say_nothing_of_ranges() -> None:
    rng = np.random.default_rng(0)
    nodes = [node("MatMul", "x a", "c"), node("Relu", "c", "r"), node("MatMul", "r b", "y")]
    constants = {"a": rng.normal(0, 1, (6, 8)).astype("f"), "b": rng.normal(0, 1, (8, 4)).astype("f")}
    model = toys.model(nodes, {"x": ["N", 6]}, {"y": None}, constants)
    data = rng.normal(0, 1, (40, 6)).astype(np.float32)
    found = equalize(model, data, "free", OPTIONS)
    assert found.equalized is None and "too few values" in found.reason


def test_a_cache_is_no_source() -> None:
    model = mobile("Relu", blocks=1)
    calibration = calibrate(model, samples(3), OPTIONS)
    for source in (calibration, calibration.cache(), calibration.collection):
        with pytest.raises(OptionError, match="belongs to the model as it was"):
            quantize(model, source, OPTIONS, QdqOptions(equalize="free"))


def test_data_is_read_several_times() -> None:
    with pytest.raises(DataError, match="several times"):
        equalize(mobile("Relu", blocks=1), iter(samples(3)), "free", OPTIONS)


def test_no_such_level() -> None:
    with pytest.raises(OptionError, match="'most'"):
        equalize(mobile("Relu", blocks=1), samples(3), "most", OPTIONS)
    with pytest.raises(OptionError, match="equalize"):
        QdqOptions(equalize="most")


@pytest.mark.slow
def test_one_sample_cannot_be_held_back() -> None:
    found = equalize(mobile("Relu", blocks=1), samples(1), "free", OPTIONS)
    assert found.equalized is None and "too few" in found.reason


@needs_compiler
@pytest.mark.slow
def test_no_more_kernels(tmp_path: Path) -> None:
    """NVIDIA's compiler runs each Mul in the kernel before it, and every layer in INT8."""
    found = []
    for level in ("off", "full"):
        path = tmp_path / f"{level}.onnx"
        quantize(mobile("SiLU"), samples(), OPTIONS, QdqOptions(equalize=level)).save(path)
        found.append(compile_model(path))
    plain, equalized = found
    assert len(equalized.kernels) <= len(plain.kernels)


def test_nan_is_told_by_the_name_of_its_file(tmp_path: Path) -> None:
    for at, each in enumerate(samples()):
        each["x"][0, 0, 0] = np.nan if at == 7 else 0
        np.save(tmp_path / f"{at:02}.npy", each["x"])
    with pytest.raises(NonFiniteError, match=r"first in sample 07\.npy"):
        quantize(mobile("Relu", blocks=1), tmp_path, OPTIONS, QdqOptions(equalize="free"))


@pytest.mark.parametrize(
    ("gain", "searched"), [(-1.0, False), (1.0, True), (6.0, False)], ids=["none", "open", "clear"]
)
def test_a_search_decides_only_what_its_stand_in_leaves_open(
    monkeypatch: pytest.MonkeyPatch, gain: float, searched: bool
) -> None:
    found = iter([Fidelity(20.0, 20.0), Fidelity(20.0 + gain, 20.0 + gain), Fidelity(30.0, 30.0)] * 9)
    runs: list[str] = []

    def again(counted: Calibration, _data: object, options: Options, *_: object) -> Calibration:
        runs.append(str(options.method))
        return counted

    monkeypatch.setattr("onnx_trtcal.improve.equalize.trials.calibrate_again", again)
    monkeypatch.setattr(HeldBack, "fidelity", lambda *_: next(found))
    made = equalize(mobile("Relu"), samples(), "free", replace(OPTIONS, method="auto"))
    # The line tells which thresholds its figures are by.
    assert ("on samples held back, by mse in place of auto, " in made.verdict) == (not searched)
    assert made.stand_in == ("" if searched else "mse in place of auto")
    assert runs == (["auto"] * len(runs) if searched else [])
    assert bool(runs) == searched
