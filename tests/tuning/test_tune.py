"""tune() from end to end, on a small network whose last layer is hard on INT8."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import fakes
from helpers.detectors import detector
from helpers.small import CPU, RecordingListener

from onnx_trtcal import QdqOptions, TuneOptions, equalize, quantize, tune
from onnx_trtcal.counting.measure import measure
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.tuning.score import NOISE
from onnx_trtcal.tuning.scorer import Scorer
from onnx_trtcal.tuning.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_trtcal.tuning.trials import Trials

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL = fakes.perceptron()
DATA, TEST = fakes.samples(24), fakes.samples(40, seed=6)
NOISY = TuneOptions(options=CPU, task="none", compile=False)


def bytes_of(made: object) -> bytes:
    return made.proto().SerializeToString(deterministic=True)  # type: ignore[attr-defined, no-any-return]


def test_a_target_that_is_met_at_once_takes_one_step() -> None:
    tuned = tune(MODEL, DATA, TEST, replace(NOISY, max_drop=0.1))
    assert tuned.met and len(tuned.steps) == 1
    assert tuned.best.score.figure == NOISE
    assert tuned.best.setting.name == "mse"
    assert (tuned.best.score.samples, tuned.report.samples) == (20, 20)
    assert bytes_of(tuned.quantization) == bytes_of(quantize(MODEL, DATA, tuned.options, tuned.qdq))


@pytest.fixture(scope="module")
def demanding() -> TuneOptions:
    """A target that INT8 alone does not meet, and INT8 with a layer in floating point does."""
    best = tune(MODEL, DATA, TEST, replace(NOISY, max_drop=0.0, max_layers=0)).best
    return replace(NOISY, max_drop=0.7 * best.score.drop, max_float=0.9)


@pytest.mark.slow
def test_layers_stay_in_float_where_nothing_else_does(demanding: TuneOptions) -> None:
    listener = RecordingListener()
    tuned = tune(MODEL, DATA, TEST, demanding, listener=listener)
    assert tuned.found
    assert 1 <= tuned.best.cost.float_layers <= 2
    assert 0 < tuned.best.cost.share < 0.9
    tried = [step.setting for step in tuned.steps]
    assert {each.method for each in tried} >= {"mse", "percentile", "entropy", "minmax", "auto"}
    assert any(each.round for each in tried) and any(each.equalize == "full" for each in tried)
    # Nothing that costs the engine anything is tried before all that does not.
    assert [bool(each.exclude) for each in tried] == sorted(bool(each.exclude) for each in tried)
    named = tuned.layer_precisions.split(",")
    assert {"one:fp16", "two:fp16", "three:fp16"} & {*named} and len(named) < 5
    assert bytes_of(tuned.quantization) == bytes_of(quantize(MODEL, DATA, tuned.options, tuned.qdq))


@pytest.mark.slow
def test_the_order_of_the_data_does_not_matter(demanding: TuneOptions) -> None:
    one = tune(MODEL, DATA, TEST, demanding)
    other = tune(MODEL, DATA[::-1], TEST[::-1], replace(demanding, options=replace(CPU, batch_size=7)))
    assert [step.setting for step in one.steps] == [step.setting for step in other.steps]
    assert bytes_of(one.quantization) == bytes_of(other.quantization)


@pytest.mark.slow
def test_out_of_reach_is_the_best_that_was_found() -> None:
    test = fakes.samples(160, seed=6)
    tuned = tune(MODEL, DATA, test, replace(NOISY, max_drop=1e-7, max_layers=1))
    assert not tuned.found and not tuned.met and not tuned.stopped
    assert {step.score.samples for step in tuned.steps} == {80}
    assert tuned.best.score.rank == min(step.score.rank for step in tuned.steps)
    assert tuned.best.cost.float_layers == 1


class KilledError(Exception):
    """What ends a run in the middle."""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_run_that_was_killed_resumes(demanding: TuneOptions, tmp_path: Path, after: int) -> None:
    request = replace(demanding, notes=tmp_path / "notes.json")
    whole = tune(MODEL, DATA, TEST, demanding)

    class Killer(RecordingListener):
        steps = 0

        def say(self, text: str) -> None:
            self.steps += text.startswith(("+ ", "- "))
            if self.steps == after:
                raise KilledError

    with pytest.raises(KilledError):
        tune(MODEL, DATA, TEST, request, listener=Killer())
    noted = json.loads((tmp_path / "notes.json").read_text())["noted"]["results"]
    assert len(noted) == after
    listener = RecordingListener()
    resumed = tune(MODEL, DATA, TEST, request, listener=listener)
    assert f"{after} results are there" in "\n".join(listener.said)
    seconds = {str(step["setting"]): step["seconds"] for step in noted.values()}
    assert [step.setting for step in resumed.steps] == [step.setting for step in whole.steps]
    assert [step.seconds for step in resumed.steps[:after]] == list(seconds.values())
    assert bytes_of(resumed.quantization) == bytes_of(whole.quantization)


@pytest.mark.slow
def test_a_resumed_run_writes_for_fewer_bits_what_was_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first method that is asked for there may be the one that looks at rounded weights."""

    def climb(trials: Trials) -> None:
        trials.attempt(Setting("entropy"))
        trials.attempt(Setting("auto"))

    monkeypatch.setattr("onnx_trtcal.tuning.tune.climb", climb)
    request = replace(NOISY, qdq=QdqOptions(weight_bits=7), notes=tmp_path / "notes.json")
    whole, resumed = (tune(MODEL, DATA, TEST, request) for _ in range(2))
    assert whole.best.setting.method == "auto"
    assert resumed.best == whole.best
    assert bytes_of(resumed.quantization) == bytes_of(whole.quantization)
    assert bytes_of(resumed.quantization) == bytes_of(quantize(MODEL, DATA, resumed.options, resumed.qdq))


def test_notes_of_other_data_are_begun_anew(tmp_path: Path) -> None:
    request = replace(NOISY, max_drop=0.1, notes=tmp_path / "notes.json")
    tune(MODEL, DATA, TEST, request)
    listener = RecordingListener()
    tune(MODEL, DATA[1:], TEST, request, listener=listener)
    assert not any("results are there" in text for text in listener.said)


def test_a_budget_ends_the_step_under_way_and_the_best_is_taken() -> None:
    class Slow(RecordingListener):
        @contextlib.contextmanager
        def progress(self, total: int | None, work: str = "") -> Iterator[Callable[[int], None]]:
            yield lambda _: time.sleep(0.05)

    listener = Slow()
    tuned = tune(MODEL, DATA, TEST, replace(NOISY, max_drop=0.0, budget=0.2), listener=listener)
    assert tuned.stopped == "the budget of 0.2 s is used up"
    assert len(tuned.steps) >= 1 and not tuned.found
    assert tuned.best in tuned.steps
    assert bytes_of(tuned.quantization) == bytes_of(quantize(MODEL, DATA, tuned.options, tuned.qdq))


def test_labels_by_position_are_those_of_the_samples_in_both_halves(tmp_path: Path) -> None:
    right = fakes.forward(TEST)["y"].argmax(axis=1)
    labels = tmp_path / "labels.npy"
    np.save(labels, right)
    tuned = tune(MODEL, DATA, TEST, TuneOptions(options=CPU, labels=labels, max_drop=0.5, compile=False))
    for score in (tuned.best.score, tuned.report):
        # The float model is right everywhere, if each sample is held against its own label.
        assert (score.figure, score.fp32) == ("top-1", 1.0)


def test_what_the_user_excludes_stays_in_float() -> None:
    request = replace(NOISY, qdq=QdqOptions(exclude=("two",)), max_drop=0.1)
    tuned = tune(MODEL, DATA, TEST, request)
    assert tuned.qdq.exclude == ("two",)
    assert tuned.best.cost.float_layers == 1
    assert "two:fp16" in tuned.layer_precisions.split(",")


def test_test_data_that_is_calibrated_on_is_warned_of() -> None:
    listener = RecordingListener()
    tune(MODEL, DATA, DATA, replace(NOISY, max_drop=0.1), listener=listener)
    assert any("24 samples of the test data are calibrated on, too" in text for text in listener.warned)


@pytest.mark.slow
def test_what_must_come_to_the_same_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The perceptron has nothing to put a Mul behind, and nothing of it may stay in floating point."""
    levels: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        levels.append(arguments[2])
        return equalize(*arguments, **options)

    monkeypatch.setattr("onnx_trtcal.tuning.trials.equalize", counted)
    monkeypatch.setattr("onnx_trtcal.tuning.layer_ranking._damages", None)
    request = replace(NOISY, max_drop=0.0, max_layers=0, max_float=0.0)
    tuned = tune(MODEL, DATA, TEST, request)
    assert levels == ["free"]
    one, other = (
        [step for step in tuned.steps if step.setting.equalize == level] for level in ("free", "full")
    )
    assert one[0].score == other[0].score and one[0].digest == other[0].digest


@pytest.mark.parametrize(("limit", "kept"), [(None, 256 << 20), (1 << 40, 256 << 20), (1 << 20, 1 << 20)])
def test_what_the_float_model_makes_takes_no_more_than_its_share_of_memory(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, kept: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("onnx_trtcal.tuning.scorer.FloatRuns", asked.append)
    request = replace(NOISY, options=replace(CPU, memory_limit=limit))
    Scorer(MODEL, TEST, request, RecordingListener())
    assert asked == [kept]


def test_data_that_cannot_be_read_again_is_refused() -> None:
    with pytest.raises(DataError, match="the data to calibrate on is an iterator"):
        tune(MODEL, iter(DATA), TEST, NOISY)
    with pytest.raises(DataError, match="the test data is an iterator"):
        tune(MODEL, DATA, iter(TEST), NOISY)


def test_the_files_for_the_cache(tmp_path: Path) -> None:
    tuned = tune(MODEL, DATA, TEST, replace(NOISY, max_drop=0.1))
    written = tuned.write_cache(tmp_path / "out.onnx")
    names = ["out.calibration.cache", "out.calibration.cache.json", "out.layer_precisions.txt"]
    assert [path.name for path in written] == names
    assert (tmp_path / names[2]).read_text() == "\n"
    assert not tuned.rewritten


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="no output 'nope'"):
        tune(MODEL, DATA, TEST, replace(NOISY, output="nope", task="classify"))


def test_detections_are_counted() -> None:
    images = np.random.default_rng(2).normal(0, 1, (24, 3, 32, 32)).astype(np.float32)
    request = TuneOptions(options=CPU, task="detect", head="yolox", max_drop=0.5, compile=False)
    tuned = tune(detector(), images[:8], images[8:], request)
    score = tuned.best.score
    assert score.figure == "agreement" and score.fp32 == 1.0
    assert score.wanted is not None and score.kept is not None
    assert 0 < score.kept <= score.wanted
    assert score.drop == pytest.approx(1 - score.int8)


def test_a_metric_that_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import numpy as np\n"
        "def distance(outputs, labels):\n"
        "    return np.abs(outputs['y'] - labels[:, None]).mean(axis=1)\n"
    )
    np.save(tmp_path / "labels.npy", np.arange(40) % 3)
    request = TuneOptions(
        options=CPU,
        labels=tmp_path / "labels.npy",
        metric=f"{tmp_path / 'm.py'}:distance",
        lower_is_better=True,
        max_drop=5.0,
        compile=False,
    )
    tuned = tune(MODEL, DATA, TEST, request)
    exact = np.abs(fakes.forward(TEST)["y"] - (np.arange(40) % 3)[:, None]).mean(axis=1)
    halves = (tuned.best.score, tuned.report)
    assert {score.figure for score in halves} == {"distance"}
    # Each half is held against its own labels: together they are the metric of all of it.
    assert np.mean([score.fp32 for score in halves]) == pytest.approx(exact.mean(), rel=1e-5)
    assert all(score.drop == pytest.approx(score.int8 - score.fp32) for score in halves)


@pytest.mark.slow
def test_labels_by_file_name_are_those_of_the_samples_in_both_halves() -> None:
    request = TuneOptions(
        options=CPU, labels=MODELS / "digits_test" / "labels.csv", max_drop=0.02, compile=False
    )
    tuned = tune(MODELS / "digits_resnet.onnx", MODELS / "digits_calib", MODELS / "digits_test", request)
    # 238 of the 240 are right, as `evaluate` has it.
    assert (tuned.best.score.fp32 + tuned.report.fp32) / 2 == pytest.approx(238 / 240)


@pytest.mark.slow
def test_data_is_counted_once_for_all_methods_and_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[object] = []

    def measured(*arguments: Any, **options: Any) -> Any:
        counted.append(arguments[1])
        return measure(*arguments, **options)

    monkeypatch.setattr("onnx_trtcal.pipeline.measure", measured)
    monkeypatch.setattr("onnx_trtcal.tuning.ladder._channels", lambda *_: False)
    tuned = tune(MODEL, DATA, TEST, replace(NOISY, max_drop=1e-7, max_layers=0))
    assert len(tuned.steps) == 6 and tuned.steps[-1].setting.round
    assert len(counted) == 1
