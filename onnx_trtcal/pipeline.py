"""calibrate(): from a model and data to a scale for every tensor.

prepare   load, fold, fuse, plan: what to measure
measure   run and count: the only part that reads data
search    methods that run the model find their thresholds
solve     thresholds and scales: a pure function of all that
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.calibration import Calibration
from onnx_trtcal.counting.forecast import memory_told
from onnx_trtcal.counting.measure import Measured, measure, measure_again
from onnx_trtcal.counting.warm_up import warm_up
from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import DataError, NonFiniteError
from onnx_trtcal.graph.independent_rows import rows_are_independent
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.methods import solve_all
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.options import DEFAULT_METHOD, Options
from onnx_trtcal.prepared import Prepared, prepare
from onnx_trtcal.scales import make_scales
from onnx_trtcal.search.outputs import compared_outputs
from onnx_trtcal.search.samples import SampleKeeper
from onnx_trtcal.search.search import Search
from onnx_trtcal.support.output_lock import locked
from onnx_trtcal.support.progress_bar import listener_for
from onnx_trtcal.trt.cache import header_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.methods import Chosen, Method, SecondPass
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.device_array import Activation
    from onnx_trtcal.support.progress import Listener

__all__ = ["calibrate", "calibrate_again", "calibrate_for", "check_finite", "check_options", "solve"]

# So many tensors with NaN or Inf are named in an error.
_MOST_NAMED = 20
# The samples kept for a look at the end result take no more than this.
_MOST_KEPT_BYTES = 64 << 20


def calibrate(
    model: str | Path | onnx.ModelProto | Model,
    data: Any,
    options: Options = Options(),
    *,
    listener: Listener | None = None,
    checkpoint: str | Path | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Calibration:
    """Calibrates a model: what `onnx-trtcal MODEL DATA` does, without writing a file.

        >>> from onnx_trtcal import Options, calibrate
        >>> options = Options(max_samples=16)
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", options)
        >>> round(calibration.scales["input"].threshold, 2)
        1.0
        >>> [path.name for path in calibration.write_cache("digits_mlp.cache")]
        ['digits_mlp.cache', 'digits_mlp.cache.json']

    Args:
        model: path of an ONNX file, a model in memory, or one that is loaded already.
        data: a path or a list of paths (directories, files, globs, lists of files), or Python data: an array, an
            iterable or a map-style data set of arrays, tensors, PIL images, `(image, label)` or `{input name: array}`.
        options: how; see Options.
        listener: receives the provider, the preprocessing, warnings and progress.
        checkpoint: file to save progress in every `options.checkpoint_every` samples, and to resume from when
            an earlier call of the same job has left it there; the caller removes it when the result is safe.
        transform: makes of each element of `data` what is fed; of a path, it receives each image file as a PIL image.
        progress: show a bar, where no listener is given.

    Raises:
        CalibrationError: one of its family, saying what happened, where, and what to do.
    """
    listener = listener_for(listener, progress=progress)
    return calibrate_for(model, transformed(data, transform), options, listener, checkpoint)


def calibrate_for(
    model: str | Path | onnx.ModelProto | Model,
    data: Any,
    options: Options,
    listener: Listener,
    checkpoint: str | Path | None = None,
    weight_bits: int = 8,
) -> Calibration:
    """As `calibrate`, for weights of so many bits where a method finds their scales, too."""
    check_options(options)
    loaded = load(model, options.ort_custom_ops)
    warm_up(options.range, options.method or DEFAULT_METHOD)
    prepared = prepare(loaded, options, listener)
    twice = {method.name for method in prepared.methods.values() if method.needs == "second pass"}
    if twice and isinstance(data, Iterator):
        names = ", ".join(sorted(twice))
        raise DataError(f"method {names} reads the data twice, and an iterator gives it only once", fix=AGAIN)
    bounded = options.budget is not None or options.steps is not None
    if bounded and all(method.name != "auto" for method in prepared.methods.values()):
        listener.warn("--budget and --steps bound method auto, which no tensor has: they change nothing")
    path = Path(checkpoint) if checkpoint else None
    search = Search(prepared, path, once=isinstance(data, Iterator), weight_bits=weight_bits)
    compared = compared_outputs(prepared)
    keeper = SampleKeeper(
        options.check_samples,
        min(options.memory_limit or _MOST_KEPT_BYTES, _MOST_KEPT_BYTES),
        compared if _are_at_hand(prepared, compared) else (),
    )
    with locked([path] if path else []), memory_told("before the first batch"):
        measured = measure(prepared, data, options, listener, path, _Keepers(search, keeper))
    check_finite(measured.collection, options)
    made = _solved(prepared, measured, search, listener)
    counted = {digest for _, digest in measured.collection.samples}
    return replace(made, kept=keeper.feeds(counted), kept_results=keeper.results(counted))


def calibrate_again(
    counted: Calibration, data: Any, options: Options, listener: Listener, weight_bits: int = 8
) -> Calibration:
    """The calibration by another method of a model that is calibrated already, from what was counted then.

    It is the one that `calibrate_for` would make. Only what no statistics tell is read from the data again: the samples
    that a method runs the model on, or a second pass.

    Args:
        counted: the calibration that there is; the options differ from its own in the methods and their bounds at most.
        data: what it was made from, which can be read again.
        options: how.
        listener: receives messages and progress.
        weight_bits: as for `calibrate_for`.

    Raises:
        CalibrationError: one of its family.
    """
    check_options(options)
    prepared = counted.prepared.with_options(options)
    source = open_source(
        data, prepared.model.inputs, options.preprocess, options.max_samples, item_axis=options.item_axis
    )
    if counted.feeding is not None:
        source = source.settled(counted.feeding)
    measured = Measured(counted.collection, counted.seen_shapes, counted.movement, source)
    search = Search(prepared, once=False, weight_bits=weight_bits)
    made = _solved(prepared, measured, search, listener)
    return replace(made, kept=counted.kept, kept_results=counted.kept_results)


def _solved(prepared: Prepared, measured: Measured, search: Search, listener: Listener) -> Calibration:
    """What comes of a model's statistics, with all that methods read of the data beside them."""
    twice = {tensor: method for tensor, method in prepared.methods.items() if method.needs == "second pass"}
    second = _second_pass(prepared, measured, twice, listener)
    chosen = search.solve(measured.collection, measured.source, listener)
    if search.steps_done is not None:
        # What repeats the result, whatever the default or a budget in seconds came to.
        prepared = replace(prepared, options=replace(prepared.options, steps=search.steps_done))
    return replace(
        solve(prepared, measured.collection, second, chosen),
        seen_shapes=measured.seen_shapes,
        movement=measured.movement,
        feeding=measured.source.feeding,
        weight_scales=search.weight_scales,
    )


def _are_at_hand(prepared: Prepared, outputs: Sequence[str]) -> bool:
    """Whether a run that counts makes these outputs of every sample, whatever others it runs it with."""
    observed = set(outputs) <= {*prepared.plan.observed}
    return observed and rows_are_independent(prepared.observed, prepared.model.inputs, outputs)


class _Keepers:
    """Passes on what is counted to those who keep samples of it; see `observed_runs.Keeper`."""

    def __init__(self, search: Search, keeper: SampleKeeper) -> None:
        self._search = search
        self._keeper = keeper

    def note(self, batch: Batch, arrays: Mapping[str, Activation]) -> None:
        self._keeper.note(batch, arrays)

    def offer(self, batch: Batch) -> None:
        if self._search.keep:
            self._search.keep(batch)
        self._keeper.offer(batch)


def _second_pass(
    prepared: Prepared,
    measured: Measured,
    methods: Mapping[str, Method],
    listener: Listener,
) -> dict[str, SecondPass]:
    """What the methods that read the data twice count the second time, ties added up; empty without any."""
    histograms = measured.collection.tied_histograms(prepared.ties)
    accumulators = {name: method.second_pass(histograms[name].amax) for name, method in methods.items()}
    if accumulators:
        # The first pass may have stopped early, and the second must count the same samples.
        same = replace(measured.source, max_samples=len(measured.collection.samples))
        measure_again(prepared, same, prepared.options, accumulators, listener)
    for first, *others in prepared.ties:
        if first in accumulators:
            for name in others:
                accumulators[first].merge(accumulators[name])
            accumulators.update(dict.fromkeys(others, accumulators[first]))
    return accumulators


def check_options(options: Options) -> None:
    """Refuses what cannot come out well before any work is done.

    Raises:
        OptionError: for a TensorRT version without calibrators or a method that does not exist.
    """
    header_for(options.trt_version)
    assign_methods(options, {})


def check_finite(collection: Collection, options: Options) -> None:
    """Refuses statistics of activations with NaN or Inf in them, unless they are allowed.

    Raises:
        NonFiniteError: naming each tensor, how many values, and the first sample.
    """
    bad = [
        f"{tensor!r}: {histogram.nan} NaN, {histogram.inf} Inf, first in sample {collection.first_nonfinite[tensor]}"
        for tensor, histogram in collection.histograms.items()
        if histogram.nan or histogram.inf
    ]
    if bad and not options.allow_nonfinite:
        more = [f"… and {len(bad) - _MOST_NAMED} more"] if len(bad) > _MOST_NAMED else []
        raise NonFiniteError(
            f"NaN or Inf in {len(bad)} of {len(collection.histograms)} observed tensors, in graph order:",
            details=bad[:_MOST_NAMED] + more,
            fix="look at the first tensor and its sample; --allow-nonfinite ignores such values and continues",
        )


def solve(
    prepared: Prepared,
    collection: Collection,
    second: Mapping[str, SecondPass] | None = None,
    chosen: Mapping[str, Chosen] | None = None,
) -> Calibration:
    """Thresholds and scales from statistics; runs no model and reads no data.

    Args:
        prepared: the model, its plan and its methods.
        collection: statistics of every tensor that the plan observes.
        second: per tensor whose method reads the data twice, what the second pass counted.
        chosen: per tensor whose method runs the model, what it chose; where that is missing, its fallback
            for statistics alone is taken.

    Raises:
        StatisticsError: when a method needs a second pass over the data and `second` lacks its result.
    """
    methods, chosen = prepared.methods, chosen or {}
    tied = collection.tied_histograms(prepared.ties)
    # Statistics of a run without --tie-concat may hold more than a plan with it observes.
    histograms = {name: tied[name] for name in prepared.plan.observed}
    counted: dict[str, Histogram | SecondPass] = {**histograms, **(second or {})}
    solved = solve_all(
        {name: each for name, each in counted.items() if name not in chosen},
        methods,
        prepared.options.threads,
    )
    thresholds = {name: chosen[name].threshold if name in chosen else solved[name] for name in histograms}
    scales = make_scales(
        prepared.plan,
        thresholds,
        {name: histogram.amax for name, histogram in histograms.items()},
        {name: method.label(chosen.get(name)) for name, method in methods.items()},
        zero_scales=prepared.options.zero_scales,
        unseen={name for name, histogram in histograms.items() if not histogram.total},
    )
    return Calibration(prepared, collection, histograms, thresholds, scales)
