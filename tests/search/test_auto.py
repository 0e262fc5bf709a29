"""Method auto from data to scales: accuracy on the bundled models, and what its result must not depend on."""

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


def test_the_result_is_the_same_in_any_order_and_batching(calibrated: tuple[str, Calibration]) -> None:
    name, found = calibrated
    shuffled = np.random.default_rng(0).permutation(rows("calib", name))
    cache = found.cache()
    assert auto(name, list(shuffled), batch_size=5, threads=1).cache() == cache
    assert auto(name, iter(list(shuffled)), batch_size=32).cache() == cache


def test_data_that_goes_by_once_is_judged_by_the_samples_that_count() -> None:
    samples = list(rows("calib", "digits_mlp"))
    whole = auto("digits_mlp", samples[:20]).cache()
    assert auto("digits_mlp", iter(samples), max_samples=20, batch_size=3).cache() == whole
    assert auto("digits_mlp", samples, max_samples=20).cache() == whole


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

    class Ears(LoggingListener):
        heard = ""

        def warn(self, text: str) -> None:
            self.heard += text

    ears = Ears()
    path = MODELS / f"{name}.onnx"
    fallen = from_statistics(path, found.collection, Options(method="auto"), ears)
    mse = from_statistics(path, found.collection, Options(method="mse"))
    assert fallen.cache() == mse.cache()
    assert "mse" in ears.heard and "data" in ears.heard
    assert {item.method for item in fallen.scales.values()} == {"auto:mse"}


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
