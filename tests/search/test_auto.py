"""Method auto from data to scales: never worse than a method alone, and what its result must not depend on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
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
from onnx_trtcal.search.auto import METHODS_TRIED
from onnx_trtcal.search.headroom import headroom
from onnx_trtcal.search.steps import Journal, Steps
from onnx_trtcal.search.task import Task
from onnx_trtcal.solving import from_statistics
from onnx_trtcal.support.progress import LoggingListener

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.mark.parametrize("once", [False, True])
def test_samples_given_twice_are_one_sample_to_a_search(monkeypatch: pytest.MonkeyPatch, once: bool) -> None:
    tasks: list[Task] = []

    def noted(**given: Any) -> Task:
        tasks.append(Task(**given))
        return tasks[-1]

    monkeypatch.setattr("onnx_trtcal.search.search.Task", noted)
    samples = list(rows("calib", "digits_mlp")[:40])
    auto("digits_mlp", iter([*samples, *samples]) if once else [*samples, *samples], steps=1)
    assert (len(tasks[0].samples), len(tasks[0].fresh)) == (20, 10)


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


def convolutions(batch: int | str, *, end: str = "") -> onnx.ModelProto:
    """Two convolutions, the first with channels of very different ranges; `end` is an op on the second."""
    rng = np.random.default_rng(0)
    first = (rng.normal(size=(6, 3, 3, 3)) * np.logspace(0, 2, 6)[:, None, None, None]).astype(np.float32)
    nodes = [
        toys.node("Conv", "x w1", "v", pads=[1, 1, 1, 1]),
        toys.node("Relu", "v", "a"),
        toys.node("Conv", "a w2", "y"),
    ]
    outputs: dict[str, object] = {"y": None}
    types: dict[str, int] = {}
    if end:
        nodes.append(toys.node(end, "y", "z"))
        outputs, types = {"z": None}, {"z": onnx.TensorProto.INT64}
    second = rng.normal(size=(4, 6, 3, 3)).astype(np.float32)
    weights = {"w1": first, "w2": second}
    return toys.model(nodes, {"x": (batch, 3, 8, 8)}, outputs, weights, dtypes=types)


def images(count: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.laplace(size=(3, 8, 8)).astype(np.float32) for _ in range(count)]


def chosen(proto: onnx.ModelProto, data: object, **options: object) -> dict[str, float]:
    found = calibrate(proto, data, Options(method="auto", provider="cpu", **options))
    return {name: item.threshold for name, item in found.scales.items()}


@pytest.mark.parametrize(("batch", "end"), [("n", ""), (1, ""), (4, ""), ("n", "NonZero"), (1, "NonZero")])
def test_threads_order_and_batches_do_not_matter(batch: int | str, end: str) -> None:
    proto, data = convolutions(batch, end=end), images()
    first = chosen(proto, data, threads=1)
    assert chosen(proto, data[::-1], threads=3, batch_size=5) == first
    assert all(value > 0 for value in first.values())


def test_a_fixed_batch_of_one_is_searched_as_a_free_one() -> None:
    free, fixed = (chosen(convolutions(batch), images()) for batch in ("n", 1))
    for name, threshold in free.items():
        assert fixed[name] == pytest.approx(threshold, rel=0.02)


def errors_on(samples: list[np.ndarray], calibrated: Calibration, thresholds: dict[str, float]) -> float:
    """The relative error power of the whole Q/DQ model, weights in INT8."""
    model = calibrated.prepared.model
    scales = {name: threshold / 127 for name, threshold in thresholds.items()}
    int8 = quantize_model(model, scales, QdqOptions(min_channels=1, gemv=True)).proto()
    exact, got = (run(proto, {"x": np.stack(samples)})[0].astype(np.float64) for proto in (model.proto, int8))
    return float(((exact - got) ** 2).sum() / (exact**2).sum())


@pytest.mark.parametrize("steps", [0, 1, None])
def test_no_method_alone_is_better_on_the_samples_compared(
    steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Headroom is for other samples, and costs something on these.
    monkeypatch.setattr("onnx_trtcal.search.auto.headroom", lambda _: 1.0)
    proto, data = convolutions("n"), images()
    found = calibrate(proto, data, Options(method="auto", provider="cpu", steps=steps))
    own = errors_on(data, found, {name: item.threshold for name, item in found.scales.items()})
    for method in METHODS_TRIED:
        single = solve(found.prepared.with_options(Options(method=method, provider="cpu")), found.collection)
        other = errors_on(data, found, {name: item.threshold for name, item in single.scales.items()})
        # Scales of a tie, and rounding that ONNX Runtime does in another order, are all that may differ.
        assert own <= 1.001 * other


def test_headroom_helps_on_other_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    others = [rng.laplace(size=(3, 8, 8)).astype(np.float32) for _ in range(500)]
    errors = []
    for factor in (headroom, lambda _: 1.0):
        monkeypatch.setattr("onnx_trtcal.search.auto.headroom", factor)
        found = calibrate(convolutions("n"), images(), Options(method="auto", provider="cpu"))
        thresholds = {name: item.threshold for name, item in found.scales.items()}
        errors.append(errors_on(others, found, thresholds))
    assert errors[0] < 0.95 * errors[1]


def test_headroom_is_a_share_of_the_largest_magnitude_in_the_sidecar() -> None:
    found = calibrate(convolutions("n"), images(), Options(method="auto", provider="cpu"))
    scale = found.scales["x"]
    amax = found.collection.histograms["x"].amax
    assert amax < scale.threshold <= 2 * amax
    share = found.provenance.scales["x"].method.removeprefix("auto:amax*")
    assert float(np.float32(amax * float(share))) == scale.threshold


def test_the_number_of_steps_repeats_the_bytes(tmp_path: Path) -> None:
    proto, data = convolutions("n"), images()
    for budget in (1e-9, 0.3, 600.0):
        timed = calibrate(proto, data, Options(method="auto", provider="cpu", budget=budget))
        steps = timed.options.steps
        assert steps is not None
        again = calibrate(proto, data, Options(method="auto", provider="cpu", steps=steps))
        files = [
            timed.write_cache(tmp_path / f"timed{budget}.cache"),
            again.write_cache(tmp_path / f"again{budget}.cache"),
        ]
        one, other = ([path.read_bytes() for path in pair] for pair in files)
        assert one == other
        assert json.loads(one[1])["options"]["steps"] == steps
        assert "budget" not in json.loads(one[1])["options"]
    assert calibrate(proto, data, Options(method="auto", provider="cpu", budget=1e-9)).options.steps == 0


def test_steps_are_recorded_by_no_other_method() -> None:
    found = calibrate(convolutions("n"), images(), Options(method="mse", provider="cpu", steps=3))
    assert found.options.steps == 3
    assert (
        calibrate(convolutions("n"), images(), Options(provider="cpu"))
        .provenance.options.keys()
        .isdisjoint({"steps", "budget"})
    )


def test_an_interrupted_search_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto, data = convolutions("n"), images()
    options = Options(method="auto", provider="cpu")
    whole = calibrate(proto, data, options).cache()
    measured: list[str] = []
    recall = Journal.recall

    def until_third(journal: Journal, name: str, measure: Callable[[], Any]) -> Any:
        if not journal.holds(name):
            if len(measured) == limit[0]:
                raise KeyboardInterrupt
            measured.append(name)
        return recall(journal, name, measure)

    monkeypatch.setattr(Journal, "recall", until_third)
    checkpoint = tmp_path / "x.checkpoint"
    limit = [3]
    with pytest.raises(KeyboardInterrupt):
        calibrate(proto, data, options, checkpoint=checkpoint)
    first = list(measured)
    limit[0] = 10**6
    measured.clear()
    assert calibrate(proto, data, options, checkpoint=checkpoint).cache() == whole
    assert measured
    assert not set(first) & set(measured)
    measured.clear()
    calibrate(proto, data[1:], options, checkpoint=checkpoint)
    assert set(first) <= set(measured), "another search must not take these for its own"


def test_features_on_a_lattice_are_met_exactly() -> None:
    """x is a multiple of 0.25 up to 25: a scale of 0.25 loses nothing, that of the largest magnitude does."""
    rng = np.random.default_rng(0)
    proto = toys.model(
        [toys.node("MatMul", "x w", "y")],
        {"x": ("n", 32)},
        {"y": ("n", 8)},
        {"w": rng.normal(size=(32, 8)).astype(np.float32)},
    )
    data = [(rng.integers(-100, 101, size=32) * 0.25).astype(np.float32) for _ in range(16)]
    found = calibrate(proto, data, Options(method="auto", provider="cpu"))
    assert found.scales["x"].scale == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("count", [3, 12, 40])
def test_a_search_takes_ten_runs_a_sample_at_most(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []
    spend = Steps.spend

    def noted(steps: Steps, runs: float, *, measured: bool = True) -> None:
        spend(steps, runs, measured=measured)
        used.append(steps.used)

    monkeypatch.setattr(Steps, "spend", noted)
    calibrate(convolutions("n"), images(count), Options(method="auto", provider="cpu"))
    # A tensor may take a few more thresholds than most do.
    assert 0 < max(used) <= 1.1 * 10 * max(count, 32)


def test_a_tensor_may_be_called_as_a_step_is() -> None:
    proto = toys.model(
        [toys.node("MatMul", "x w", "all"), toys.node("MatMul", "all w", "y")],
        {"x": ["n", 8]},
        {"y": ["n", 8]},
        {"w": np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)},
    )
    data = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    renamed = onnx.ModelProto.FromString(proto.SerializeToString())
    renamed.graph.node[0].output[0] = renamed.graph.node[1].input[0] = "b"
    named, other = (
        calibrate(each, data, Options(method="auto", provider="cpu")).thresholds for each in (proto, renamed)
    )
    assert named["all"] == other["b"] and named["x"] == other["x"]
