"""tune(): tries what can be changed, cheapest engine first, until INT8 is as good as asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.scale_source import source_kind
from onnx_trtcal.support.progress_bar import listener_for
from onnx_trtcal.tuning.clock import Clock, OutOfTimeError
from onnx_trtcal.tuning.key import key_of
from onnx_trtcal.tuning.ladder import climb
from onnx_trtcal.tuning.notes import Notes
from onnx_trtcal.tuning.options import TuneOptions
from onnx_trtcal.tuning.scorer import Scorer
from onnx_trtcal.tuning.trials import Trials
from onnx_trtcal.tuning.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from onnx_trtcal.support.progress import Listener
    from onnx_trtcal.tuning.score import Score

__all__ = ["tune"]


def tune(
    model: str | Path | onnx.ModelProto,
    data: Any,
    test: Any,
    request: TuneOptions = TuneOptions(),
    *,
    listener: Listener | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Tuning:
    """Quantizes a model so that it is as good as asked for: what `onnx-trtcal tune` does, without writing a model.

    Methods come first, then equalization and the rounding of weights, then layers in floating point, by sensitivity.
    Steps are chosen on one half of the test data, told by the content of the samples; the result is reported on the
    other half.

        >>> from onnx_trtcal import Options, TuneOptions, tune
        >>> request = TuneOptions(
        ...     options=Options(max_samples=32), labels="models/digits_test_labels.csv", max_drop=0.02, compile=False
        ... )
        >>> tuned = tune("models/digits_mlp.onnx", "models/digits_calib.npy", "models/digits_test.npy", request)
        >>> tuned.met, tuned.best.setting.name, tuned.report.samples
        (True, 'mse', 120)

    Args:
        model: the float model.
        data: what to calibrate on, whatever `calibrate` takes but an iterator.
        test: what to measure on, of the same kinds; not the data that is calibrated on.
        request: the target, the right answers, and what all steps have in common.
        listener: receives a line per step, warnings and progress.
        transform: makes of each element of `data` and `test` what is fed, as in `calibrate`.
        progress: show a bar, where no listener is given.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    listener = listener_for(listener, progress=progress)
    clock = Clock(request.budget)
    _check_data(data, test)
    data, test = transformed(data, transform), transformed(test, transform)
    scorer = Scorer(model, test, request, listener)
    counted = _counted(data, scorer, request)
    _warn_of_shared(counted, scorer, listener)
    halves = scorer.halves
    listener.say(
        f"steps are chosen on {len(halves.choosing)} samples, the result is reported on the other "
        f"{len(halves.reporting)}"
    )
    path = Path(request.notes) if request.notes else None
    noted = Notes(path, key_of(scorer.model.sha256, counted, scorer.hashes, request))
    if noted.resumed:
        listener.say(f"resumes from {path}: {noted.resumed} results are there")
    trials = Trials(model, data, request, scorer, noted, clock, listener)
    stopped = ""
    try:
        climb(trials)
    except OutOfTimeError:
        stopped = f"the budget of {request.budget:g} s is used up"
        listener.say(f"{stopped}: the best so far is taken")
    best = trials.best
    if best is None:
        raise OptionError("no step was done")
    clock.armed = False
    made = trials.made(best.setting)
    report = trials.reported(made)
    _say_coarse(best.score, request.max_drop, listener)
    return Tuning(request, tuple(trials.steps), best, report, made, stopped)


def _check_data(data: Any, test: Any) -> None:
    """Refuses what cannot be read again, or is not data."""
    for given, what in ((data, "the data to calibrate on"), (test, "the test data")):
        if isinstance(given, Iterator):
            raise DataError(f"{what} is an iterator, and it is read for every step", fix=AGAIN)
        if source_kind(given) != "data":
            raise DataError(
                f"{what} holds scales, and tune has to run the model", fix="give data: images or arrays"
            )


def _counted(data: Any, scorer: Scorer, request: TuneOptions) -> tuple[str, ...]:
    """The content hashes of the samples to calibrate on."""
    options = request.options
    source = open_source(
        data, scorer.model.inputs, options.preprocess, options.max_samples, item_axis=options.item_axis
    )
    with contextlib.suppress(DataError), closing(batches(source.settled(scorer.source.feeding), 1)) as stream:
        return tuple(digest for batch in stream for digest in batch.hashes)
    # Data that is stacked in another way than the test data is.
    with closing(batches(source, 1)) as stream:
        return tuple(digest for batch in stream for digest in batch.hashes)


def _warn_of_shared(counted: tuple[str, ...], scorer: Scorer, listener: Listener) -> None:
    shared = len(set(counted) & set(scorer.hashes))
    if shared:
        listener.warn(
            f"{shared} samples of the test data are calibrated on, too, which flatters: give other test data"
        )


def _say_coarse(score: Score, max_drop: float, listener: Listener) -> None:
    """Says where one sample more or less is above the target."""
    counts_samples = score.figure in ("top-1", "agreement") and score.wanted is None
    if counts_samples and score.samples * max_drop < 1:
        listener.say(
            f"one sample of {score.samples} is {100 / score.samples:.2f} points, which is more than the target: with "
            "so few, only what changes no answer at all meets it"
        )
