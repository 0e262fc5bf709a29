"""What the page says of real calibrations: a bundled model, its cache, an evaluation, a run before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, network, samples

from onnx_trtcal import Cache, EvaluationOptions, Preprocess, QdqOptions, calibrate, evaluate, quantize
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.fields import evaluation_fields
from onnx_trtcal.report.page.build import build_page
from onnx_trtcal.report.page.commands import Commands
from onnx_trtcal.report.page.material import Material, Paths
from onnx_trtcal.report.page.measured import (
    Measured,
    MeasuredBlock,
    MeasuredFigure,
    MeasuredTensor,
    measured_of,
)
from onnx_trtcal.report.page.options import ReportOptions
from onnx_trtcal.report.page.write import material_of
from onnx_trtcal.scale_source import from_calibration
from onnx_trtcal.support.progress import LoggingListener

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.report.page.facts import Page, TensorFacts

MODELS = Path(__file__).resolve().parents[3] / "models"
MODEL, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits_calib.npy"
LISTENER = LoggingListener()


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(MODEL, DATA, replace(CPU, max_samples=32))


@pytest.fixture(scope="module")
def material(calibration: Calibration) -> Material:
    paths = Paths("m.onnx", stats="m.stats", data=("data",), written=(("m.stats", 1234),))
    return Material(from_calibration(calibration), paths)


def by_name(page: Page) -> dict[str, TensorFacts]:
    return {each.name: each for each in page.tensors}


def measured(*, worst: float = 30.0, tensors: tuple[MeasuredTensor, ...] = ()) -> Measured:
    blocks = (MeasuredBlock("logits", worst, verdict=True), MeasuredBlock("tiny", -5.0, verdict=False))
    return Measured(64, tensors, blocks, 0.99, ())


def test_every_observed_tensor_has_its_scale_and_all_thresholds(
    material: Material, calibration: Calibration
) -> None:
    page = build_page(material)
    assert [each.name for each in page.tensors] == list(calibration.prepared.plan.observed)
    for each in page.tensors:
        item = calibration.scales[each.name]
        assert (each.scale, each.threshold, each.method) == (item.scale, item.threshold, "entropy")
        assert {one.label for one in each.thresholds} == {
            "entropy",
            "minmax",
            "percentile:99.99",
            "legacy:0.999999",
            "mse",
        }
        assert [one.value for one in each.thresholds] == sorted(one.value for one in each.thresholds)
        assert each.chosen is not None and each.chosen.value == item.threshold
        best = max(one.sqnr for one in each.thresholds)
        assert next(one.sqnr for one in each.thresholds if one.label == "mse") >= best - 0.1
    taken = {name: each.name for each in page.tensors for name, _ in each.members}
    owners = calibration.prepared.plan.owners
    observed = {each.name for each in page.tensors}
    assert taken == {
        name: owner.source
        for name, owner in owners.items()
        if owner.source != name and owner.source in observed
    }


def test_secrets_in_the_url_of_data_are_not_on_the_page(material: Material) -> None:
    paths = Paths("m.onnx", data=("s3://user:SECRET@bucket/x", "https://host/y.npy?token=SECRET"))
    page = build_page(replace(material, paths=paths))
    assert "SECRET" not in repr(page) and "s3://bucket/x" in repr(page)


def test_layers_have_their_precision_and_weights(material: Material) -> None:
    page = build_page(replace(material, qdq=QdqOptions(exclude=("Gemm",))))
    layers = {each.name: each for each in page.tensors if each.precision}
    assert {each.precision for each in layers.values()} == {"int8", "float"}
    for each in layers.values():
        assert (each.weights is None) == (each.precision == "float")
        assert bool(each.why) == (each.precision == "float")
    assert sum(len(names) for _, names in page.float_layers) == sum(
        each.precision == "float" for each in layers.values()
    )


def test_without_a_measurement_nothing_is_called_safe(material: Material) -> None:
    page = build_page(material)
    assert page.verdict.level == "unknown" and page.verdict.headline.startswith("Not measured yet")
    texts = [each.text for each in page.verdict.next]
    assert "onnx-trtcal evaluate m.onnx data --stats m.stats --report report.html" in texts
    assert [each.text for each in page.commands][:2] == [
        "onnx-trtcal solve m.stats m.onnx -o m.calibration.cache",
        page.commands[1].text,
    ]
    assert page.commands[1].text.startswith("trtexec --onnx=m.onnx --int8 --calib=m.calibration.cache")
    assert page.files == (("m.stats", "1.23 kB"),)


@pytest.mark.parametrize(
    ("worst", "level", "word"), [(30.0, "good", "Safe"), (15.0, "caution", "care"), (3.0, "bad", "Not safe")]
)
def test_the_worst_block_is_the_verdict(material: Material, worst: float, level: str, word: str) -> None:
    page = build_page(replace(material, measured=measured(worst=worst)))
    assert page.verdict.level == level and word in page.verdict.headline
    assert f"logits is left with {worst:.1f} dB" in page.verdict.because
    assert any("sensitivity" in each.text for each in page.verdict.next) == (level != "good")
    assert any("--method auto" in each.text for each in page.verdict.next) == (level == "bad")


@pytest.mark.parametrize(
    ("int8", "worst", "level"),
    [
        (0.9, 30.0, "good"),
        (0.895, 15.0, "good"),
        (0.9, 3.0, "caution"),
        (0.87, 30.0, "caution"),
        (0.5, 30.0, "bad"),
    ],
)
def test_labels_say_more_than_noise(material: Material, int8: float, worst: float, level: str) -> None:
    figures = (MeasuredFigure("top-1", 0.9, int8, share=True), MeasuredFigure("loss", 1.0, 5.0, share=False))
    page = build_page(replace(material, measured=replace(measured(worst=worst), figures=figures)))
    assert page.verdict.level == level and "top-1 is" in page.verdict.because


def test_error_is_joined_with_the_tensors_and_flagged_where_it_grows(material: Material) -> None:
    name = material.source.calibration.prepared.plan.observed[1]  # type: ignore[union-attr]
    page = build_page(
        replace(material, measured=measured(worst=12.0, tensors=(MeasuredTensor(name, 12.0, 9.0),)))
    )
    facts = by_name(page)[name]
    assert (facts.sqnr, facts.lost) == (12.0, 9.0) and "−9.0 dB here" in [flag.word for flag in facts.flags]
    assert any(risk.tensor == facts.key and "21.0 dB before it" in risk.text for risk in page.verdict.risks)
    assert all(each.sqnr is None for each in page.tensors if each.name != name)


def test_an_evaluation_as_it_is_measured(material: Material, calibration: Calibration) -> None:
    found = evaluate(
        MODEL, MODELS / "digits_test.npy", EvaluationOptions(calibration, replace(CPU, max_samples=32))
    )
    page = build_page(replace(material, measured=measured_of(evaluation_fields(found))))
    errors = {each.name: each.sqnr for each in found.tensors}
    assert errors and {each.name: each.sqnr for each in page.tensors if each.sqnr is not None} == errors


def test_a_cache_beside_the_scales_is_compared_and_its_gaps_are_found(calibration: Calibration) -> None:
    scales = {name: item.scale for name, item in calibration.scales.items()}
    first, second, *_ = calibration.prepared.plan.observed
    del scales[second]
    scales[first] *= 1.5
    cache = Cache("TRT-100300-EntropyCalibration2", scales)
    material = material_of(MODEL, calibration, ReportOptions(cache=cache), CPU, LISTENER)
    page = build_page(material)
    facts = by_name(page)
    assert facts[first].beside is not None and facts[first].beside.ratio == pytest.approx(1.5)
    assert facts[second].beside is None
    assert "cache +50.0 %" in [flag.word for flag in facts[first].flags]
    assert "not in the cache" in [flag.word for flag in facts[second].flags]
    assert page.verdict.risks[0].level == "bad" and "lacks" in page.verdict.risks[0].text
    assert any("check" in each.text for each in page.verdict.next)
    (risk,) = (each for each in page.verdict.risks if "other scales" in each.text)
    assert risk.tensor == facts[first].key and f"1 of {len(scales.keys() & facts.keys())} differ" in risk.text


def test_a_cache_may_hold_scales_of_zero(calibration: Calibration) -> None:
    scales = dict.fromkeys(calibration.scales, 0.0)
    cache = Cache("TRT-100300-EntropyCalibration2", scales)
    page = build_page(material_of(MODEL, calibration, ReportOptions(cache=cache), CPU, LISTENER))
    assert any("other scales" in each.text for each in page.verdict.risks)


def test_a_cache_of_another_model_is_not_safe(calibration: Calibration) -> None:
    other = Cache("TRT-100300-EntropyCalibration2", {f"other{at}": 0.5 for at in range(40)})
    page = build_page(material_of(MODEL, calibration, ReportOptions(cache=other), CPU, LISTENER))
    assert page.verdict.level == "bad" and "another model's" in page.verdict.headline


def test_gaps_of_the_cache_weigh_on_outputs_that_hold(calibration: Calibration) -> None:
    scales = {name: item.scale for name, item in calibration.scales.items()}
    del scales["input"]
    cache = Cache("TRT-100300-EntropyCalibration2", scales)
    material = material_of(MODEL, calibration, ReportOptions(cache=cache), CPU, LISTENER)
    assert build_page(material).verdict.level == "caution"
    page = build_page(replace(material, measured=measured()))
    assert page.verdict.level == "caution" and "something else is at risk" in page.verdict.headline


def test_measurements_of_another_model_are_refused(calibration: Calibration) -> None:
    found = evaluate(
        MODELS / "digits_resnet.onnx",
        MODELS / "digits_test",
        EvaluationOptions(options=replace(CPU, max_samples=4)),
    )
    with pytest.raises(DataError, match="another model"):
        material_of(MODEL, calibration, ReportOptions(measurements=(found,)), CPU, LISTENER)


def test_a_cache_alone_makes_a_page_without_ranges(calibration: Calibration) -> None:
    cache = calibration.cache()
    page = build_page(material_of(MODEL, cache, ReportOptions(), CPU, LISTENER))
    facts = by_name(page)
    assert facts.keys() >= set(calibration.prepared.plan.observed) - calibration.prepared.plan.products.keys()
    assert {name: each.scale for name, each in facts.items()} == {name: cache.scales[name] for name in facts}
    assert all(each.histogram is None and not each.thresholds for each in page.tensors)
    assert any(each.precision == "int8" for each in page.tensors)


def test_what_moved_since_the_run_before(calibration: Calibration) -> None:
    before = calibrate(MODEL, np.load(DATA)[:32] * 0.5, replace(CPU, max_samples=32))
    page = build_page(material_of(MODEL, calibration, ReportOptions(earlier=before), CPU, LISTENER))
    facts = by_name(page)["input"]
    assert facts.moved is not None and facts.moved.ratio == pytest.approx(2.0)
    assert facts.moved.amax == before.scales["input"].amax and facts.moved.histogram is not None
    assert "moved ×2" in [flag.word for flag in facts.flags] and page.earlier
    same = build_page(material_of(MODEL, calibration, ReportOptions(earlier=calibration), CPU, LISTENER))
    assert all(each.moved and each.moved.ratio == 1.0 and not _moves(each) for each in same.tensors)


def _moves(tensor: TensorFacts) -> bool:
    return any(flag.word.startswith("moved") for flag in tensor.flags)


def test_what_was_quantized_decides_what_runs_in_int8(calibration: Calibration) -> None:
    made = quantize(MODEL, calibration, CPU, QdqOptions(exclude=("MatMul",)))
    page = build_page(Material(made.source, Paths("m.onnx", qdq="m.int8.onnx"), made=made))
    left = [layer.op for layer in made.layers if layer.reason]
    assert [each.op for each in page.tensors if each.precision == "float"] == left == ["MatMul"]
    assert "trtexec --onnx=m.int8.onnx" in page.commands[0].text


def test_what_is_odd_about_a_tensor_is_flagged() -> None:
    """A tensor that is always zero, one with a few values, weights with a dead channel."""
    weight = np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)
    weight[1] = 0
    nodes = [toys.node("Conv", "x w", "conv", name="c"), toys.node("Mul", "conv zero", "none")]
    model = toys.model(
        nodes, {"x": ["n", 2, 4, 4]}, ["conv", "none"], {"w": weight, "zero": np.zeros(1, np.float32)}
    )
    page = build_page(Material(from_calibration(calibrate(model, samples(4), CPU)), Paths("toy.onnx")))
    words = {each.name: [flag.word for flag in each.flags] for each in page.tensors}
    assert "1 dead channel" in words["conv"] and "few values" in words["conv"]
    assert "all zero" in words["none"]
    assert by_name(page)["conv"].weights is not None and by_name(page)["conv"].weights.dead == (1,)


def test_a_page_is_made_of_every_small_model() -> None:
    calibration = calibrate(network(), samples(6), CPU)
    page = build_page(Material(from_calibration(calibration), Paths("toy.onnx")))
    (relu,) = (each for each in page.tensors if each.name == "relu")
    assert (relu.op, relu.precision, [name for name, _ in relu.members]) == (
        "Conv",
        "int8",
        ["conv", "bn", "pool"],
    )


def test_commands_feed_the_data_as_it_was_fed() -> None:
    options = replace(CPU, item_axis=("x=0",), preprocess=Preprocess(preset="yolo"))
    source = from_calibration(calibrate(network(), samples(2), CPU))
    named = Commands(Material(source, Paths("m.onnx", data=("images",)), options))
    unnamed = Commands(Material(source, Paths("m.onnx"), options))
    for command in ("evaluate", "sensitivity", "auto", "tune"):
        assert "m.onnx images --item-axis x=0 --preset yolo " in f"{getattr(named, command)().text} "
        assert "m.onnx DATA" in getattr(unnamed, command)().text
        assert "--preset" not in getattr(unnamed, command)().text


def test_the_subtitle_names_a_method_once_whatever_it_chose() -> None:
    model = network()
    given = replace(CPU, method_for=("relu=percentile:99",))
    source = from_calibration(calibrate(model, samples(4), given))
    said = build_page(Material(source, Paths("m.onnx"))).subtitle
    assert said.startswith("4 samples, method ") and sorted(said[18:].split(", ")) == [
        "entropy",
        "percentile:99.0",
    ]
    made = quantize(model, samples(8), replace(CPU, method="auto", steps=6, check_samples=0))
    labels = {item.method for item in made.source.calibration.scales.values()}
    assert len(labels) > 1, "the search chose one thing for all tensors: nothing is shown here"
    assert build_page(Material(made.source, Paths("m.onnx"))).subtitle == "8 samples, method auto"
