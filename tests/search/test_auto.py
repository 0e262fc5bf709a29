"""Method auto from data to scales: accuracy on the bundled models, what its result must not depend on, and the
choice among candidates: smoothing against a slow fit, and what noise must not do.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.toys import run

from onnx_trtcal.methods import parse_method
from onnx_trtcal.methods.score import score
from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import calibrate, solve
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.report.advice import SEVERAL_TIMES, overclipped
from onnx_trtcal.scale_source import from_statistics
from onnx_trtcal.search.auto import METHODS_TRIED, candidates, choose, smoothed
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.support.progress import LoggingListener

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

MODELS = Path(__file__).parents[2] / "models"
SHAPES = {"digits_mlp": (-1, 64), "digits_resnet": (-1, 1, 8, 8)}
SINGLE = ("entropy", "minmax", "mse", "percentile:99.99", "percentile:99.999")


def rows(which: str, name: str) -> np.ndarray:
    return np.load(MODELS / f"digits_{which}.npy").reshape(SHAPES[name])


def auto(name: str, data: object, **options: object) -> Calibration:
    return calibrate(MODELS / f"{name}.onnx", data, Options(method="auto", provider="cpu", **options))


@pytest.fixture(scope="module", params=sorted(SHAPES))
def calibrated(request: pytest.FixtureRequest) -> tuple[str, Calibration]:
    return request.param, auto(request.param, rows("calib", request.param))


def sqnr(calibration: Calibration, samples: np.ndarray) -> float:
    model = calibration.prepared.model
    scales = {name: item.scale for name, item in calibration.scales.items()}
    int8 = quantize_model(model, scales, QdqOptions(min_channels=1, gemv=True, weights="float")).proto()
    exact, got = (run(proto, {"input": samples})[0].astype(np.float64) for proto in (model.proto, int8))
    return 10 * math.log10((exact**2).sum() / ((exact - got) ** 2).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_no_single_method_is_half_a_decibel_better_on_unseen_samples(name: str) -> None:
    """On average over deals of the samples: which ones are at hand moves any method by a few tenths."""
    both = np.concatenate([rows("calib", name), rows("test", name)])
    count, margins = len(rows("calib", name)), []
    for order in (np.arange(len(both)), np.random.default_rng(1).permutation(len(both))):
        seen, unseen = both[order[:count]], both[order[count:]]
        found = auto(name, seen)
        singles = [
            sqnr(
                solve(found.prepared.with_options(Options(method=method, provider="cpu")), found.collection),
                unseen,
            )
            for method in SINGLE
        ]
        margins.append(sqnr(found, unseen) - max(singles))
    assert np.mean(margins) >= -0.5


@pytest.mark.slow
def test_the_result_is_the_same_in_any_order_and_batching(calibrated: tuple[str, Calibration]) -> None:
    name, found = calibrated
    shuffled = np.random.default_rng(0).permutation(rows("calib", name))
    cache = found.cache()
    assert auto(name, list(shuffled), batch_size=5, threads=1).cache() == cache
    assert auto(name, iter(list(shuffled)), batch_size=32).cache() == cache


def test_data_that_goes_by_once_is_searched_on_the_samples_that_count() -> None:
    samples = list(rows("calib", "digits_mlp"))
    whole = auto("digits_mlp", samples[:20]).cache()
    assert auto("digits_mlp", iter(samples), max_samples=20, batch_size=3).cache() == whole
    assert auto("digits_mlp", samples, max_samples=20).cache() == whole


@pytest.mark.slow
def test_the_sidecar_names_what_was_chosen(calibrated: tuple[str, Calibration]) -> None:
    _, found = calibrated
    for item in found.scales.values():
        prefix, _, candidate = item.method.partition(":")
        if item.reason == "constant":
            continue
        assert prefix == "auto"
        if candidate.startswith("amax*"):
            assert item.threshold == pytest.approx(item.amax * float(candidate[5:]), rel=1e-3)
        else:
            histogram = found.collection.histograms[item.source]
            assert item.threshold == parse_method(candidate).solve(histogram)


def test_statistics_alone_give_mse_and_say_so(calibrated: tuple[str, Calibration]) -> None:
    name, found = calibrated

    class RecordingListener(LoggingListener):
        heard = ""

        def warn(self, text: str) -> None:
            self.heard += text

    listener = RecordingListener()
    path = MODELS / f"{name}.onnx"
    fallen = from_statistics(path, found.collection, Options(method="auto"), listener)
    mse = from_statistics(path, found.collection, Options(method="mse"))
    assert fallen.cache() == mse.cache()
    assert "mse" in listener.heard and "data" in listener.heard
    assert {item.method for item in fallen.scales.values() if item.reason != "constant"} == {"auto:mse"}


def test_the_closing_words_do_not_talk_it_out_of_its_choice() -> None:
    """x is read through tanh(20 v): whatever exceeds a fraction of its range may be clipped."""
    random = np.random.default_rng(0)
    weight = np.eye(32, dtype=np.float32) * 20
    proto = toys.model(
        [toys.node("MatMul", "x w", "v"), toys.node("Tanh", "v", "y")],
        {"x": ("n", 32)},
        {"y": ("n", 32)},
        {"w": weight},
    )
    data = [random.laplace(size=32).astype(np.float32) for _ in range(64)]
    found = calibrate(proto, data, Options(method="auto", provider="cpu"))
    own = score(found.collection.histograms["x"], found.thresholds["x"]).mse
    least = score(
        found.collection.histograms["x"], parse_method("mse").solve(found.collection.histograms["x"])
    ).mse
    assert own > SEVERAL_TIMES * least
    assert overclipped(found) == []


def test_only_the_tensors_asked_for_are_chosen() -> None:
    options = Options(method="minmax", method_for=("input=auto",), provider="cpu")
    found = calibrate(MODELS / "digits_mlp.onnx", rows("calib", "digits_mlp"), options)
    methods = {name: item.method for name, item in found.scales.items()}
    assert methods.pop("input").startswith("auto:")
    assert set(methods.values()) == {"minmax"}


def counted(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram


def test_every_method_and_a_grid_below_amax() -> None:
    histogram = counted(np.random.default_rng(0).standard_t(3, 20000))
    found = candidates(histogram)
    solved = [parse_method(text).solve(histogram) for text in METHODS_TRIED]
    assert set(solved) <= set(found.values())
    grid = [value for name, value in found.items() if name.startswith("amax*")]
    assert len(grid) > 4
    for k, value in enumerate(grid, 1):
        assert value == pytest.approx(histogram.amax * 2 ** (-k / 4), rel=1e-6)
    assert min(grid) >= 0.6 * min(solved)


def test_equal_thresholds_appear_once() -> None:
    found = candidates(counted(np.full(100, 2.0)))
    assert len(set(found.values())) == len(found)


def test_zeros_have_one_candidate() -> None:
    assert list(candidates(counted(np.zeros(5))).values()) == [0.0]


def slow_level(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The level at `at` of the weighted, slightly ridged parabola, by its normal equations."""
    powers = np.array([[1.0, v - at, (v - at) ** 2] for v in x])
    weights = np.array([math.exp(-((v - at) ** 2) / (2 * 0.25**2)) for v in x])
    normal = sum(w * np.outer(p, p) for w, p in zip(weights, powers, strict=True))
    right = sum(w * v * p for w, v, p in zip(weights, y, powers, strict=True))
    normal = normal + 1e-6 * np.diag([0.0, 1.0, 1.0])
    return float(np.linalg.solve(normal, right)[0])


def test_smoothing_is_a_local_parabola() -> None:
    rng = np.random.default_rng(0)
    thresholds = {str(k): 2.0 ** (-k / 4) for k in range(12)}
    errors = {name: math.exp(rng.normal()) for name in thresholds}
    found = smoothed(thresholds, errors)
    x = np.log2(list(thresholds.values()))
    y = np.log(list(errors.values()))
    for name, at in zip(thresholds, x, strict=True):
        assert found[name] == pytest.approx(slow_level(x, y, at), abs=1e-6)


def test_the_unit_of_the_error_does_not_matter() -> None:
    thresholds = {"a": 1.0, "b": 0.8, "c": 0.5}
    errors = {"a": 3.0, "b": 2.0, "c": 4.0}
    one = smoothed(thresholds, errors)
    other = smoothed(thresholds, {name: error * 1e-9 for name, error in errors.items()})
    for name in thresholds:
        assert other[name] - one[name] == pytest.approx(math.log(1e-9))


def test_the_bottom_of_a_noisy_valley_is_found() -> None:
    thresholds = {str(k): 2.0 ** (-k / 4) for k in range(15)}
    valley = {name: t**2 + 0.002 * t**-4 for name, t in thresholds.items()}
    rng = np.random.default_rng(1)
    best = min(valley.values())
    for _ in range(50):
        noisy = {name: error * math.exp(rng.normal(0, 0.2)) for name, error in valley.items()}
        assert valley[choose(thresholds, noisy)] <= 1.5 * best


def test_without_any_error_there_is_no_choice() -> None:
    assert choose({"a": 1.0, "b": 2.0}, {}) is None
    assert choose({"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}) is None
    assert choose({"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}) == "a"


def test_of_errors_about_alike_the_larger_threshold_is_taken() -> None:
    thresholds = {"a": 1.0, "b": 0.9, "c": 0.2}
    assert choose(thresholds, {"a": 1.02, "b": 1.0, "c": 9.0}) == "a"
    assert choose(thresholds, {"a": 1.2, "b": 1.0, "c": 9.0}) == "b"
