"""calibrate(): from a model and data to a scale for every tensor.

prepare   load, fold, fuse, plan: what to measure
measure   run and count: the only part that reads data
solve     thresholds and scales: a pure function of the other two
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onnx_trtcal.assign import assign_methods
from onnx_trtcal.cache import header_for
from onnx_trtcal.calibration import Calibration, Prepared
from onnx_trtcal.errors import ModelError, NonFiniteError
from onnx_trtcal.options import Options
from onnx_trtcal.trtexec import SeenShapes

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from onnx_trtcal.graph.fold import FoldReport
    from onnx_trtcal.graph.load import Model
    from onnx_trtcal.graph.plan import Plan
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Listener", "calibrate", "check_finite", "check_options", "measure", "prepare", "solve"]

logger = logging.getLogger(__name__)
DEFAULT_BATCH_SIZE = 8


class Listener(Protocol):
    """Is told how a run goes on; the command line prints what it hears."""

    def say(self, text: str) -> None:
        """A fact about the run, one line."""

    def warn(self, text: str) -> None:
        """Something the user should look at."""

    def progress(self, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Opens a count of samples; what it returns is told of each batch's samples."""


class _Deaf:
    def say(self, text: str) -> None:
        logger.info(text)

    def warn(self, text: str) -> None:
        logger.warning(text)

    def progress(self, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda count: None)


def calibrate(
    model: str | Path | onnx.ModelProto,
    data: Any,
    options: Options = Options(),
    *,
    listener: Listener | None = None,
) -> Calibration:
    """Calibrates a model: what `onnx-trtcal MODEL DATA` does, without writing a file.

    Args:
        model: path of an ONNX file, or a model in memory.
        data: a directory, a file, or an iterable of arrays or of `{input name: array}`.
        options: how; see Options.
        listener: is told of the provider, the preprocessing, warnings and progress.

    Raises:
        CalibrationError: one of its family, saying what happened, where, and what to do.
    """
    ears = listener or _Deaf()
    check_options(options)
    prepared = prepare(model, options, ears)
    collection, seen_shapes = measure(prepared, data, options, ears)
    check_finite(collection, options)
    return solve(prepared, collection, options, seen_shapes)


def check_options(options: Options) -> None:
    """Refuses what cannot come out well before any work is done.

    Raises:
        OptionError: for a TensorRT version without calibrators or a method that does not exist.
    """
    header_for(options.trt_version)
    assign_methods(options, {})


def prepare(
    model: str | Path | onnx.ModelProto, options: Options, listener: Listener | None = None
) -> Prepared:
    """Loads and rewrites a model and plans what to measure; reads no data.

    Raises:
        ModelError: when the model cannot be loaded, is quantized already, or has nothing to measure.
    """
    from onnx_trtcal.graph.fold import fold
    from onnx_trtcal.graph.load import load
    from onnx_trtcal.graph.plan import plan
    from onnx_trtcal.graph.surgeon import import_graph

    ears = listener or _Deaf()
    loaded = load(model, options.ort_custom_ops)
    folded = import_graph(loaded)
    folds = fold(folded)
    everything = options.observe == "all"
    observed = import_graph(loaded) if everything else folded
    planned = plan(
        loaded,
        observed,
        {} if everything else folds.vanished,
        observe=options.observe,
        tie_concat=options.tie_concat,
    )
    _check_plan(planned, loaded, options)
    ears.say(_prepared_line(folds, planned))
    for node, reason in folds.left:
        ears.say(f"BatchNorm {node!r} is not folded: {reason}")
    return Prepared(loaded, folded, folds, observed, planned)


def measure(
    prepared: Prepared, data: Any, options: Options, listener: Listener | None = None
) -> tuple[Collection, dict[str, SeenShapes]]:
    """Runs the data through the model and counts every observed tensor.

    Returns:
        The statistics, and the shapes each input was fed with.

    Raises:
        DataError, ModelError, ProviderError: as reading, running and choosing a provider do.
    """
    from onnx_trtcal.data.batching import batches, effective_batch_size
    from onnx_trtcal.data.sources import open_source
    from onnx_trtcal.graph.probe import probe
    from onnx_trtcal.run.collect import collect
    from onnx_trtcal.run.provider import choose_provider
    from onnx_trtcal.run.session import Session
    from onnx_trtcal.stats.collection import Collection

    ears = listener or _Deaf()
    inputs = prepared.model.inputs
    source = open_source(data, inputs, options.preprocess, options.max_samples)
    for line in source.description:
        ears.say(line)
    provider = choose_provider(options.provider)
    ears.say(str(provider))
    plan = prepared.plan
    session = Session(
        probe(prepared.observed, prepared.model, plan.observed),
        provider,
        options.threads,
        options.ort_custom_ops,
    )
    collection = Collection(
        plan.observed,
        model=prepared.model.sha256,
        rule=options.range,
        options=_measured_with(options),
    )
    seen_shapes: dict[str, SeenShapes] = {}
    batch_size = effective_batch_size(inputs, options.batch_size or DEFAULT_BATCH_SIZE)
    with ears.progress(source.count) as advance:
        collect(session, batches(source, inputs, batch_size), collection, seen_shapes, advance)
    return collection, seen_shapes


def _measured_with(options: Options) -> dict[str, Any]:
    """What must be equal for two sets of statistics to add up; what is left at its default is left out."""
    images = {name: value for name, value in asdict(options.preprocess).items() if value is not None}
    return {"observe": options.observe, "preprocess": images}


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
        raise NonFiniteError(
            f"NaN or Inf in {len(bad)} of {len(collection.histograms)} observed tensors, in graph order:\n    "
            + "\n    ".join(bad[:20] + ([f"… and {len(bad) - 20} more"] if len(bad) > 20 else [])),
            fix="look at the first tensor and its sample; --allow-nonfinite leaves such values out and goes on",
        )


def solve(
    prepared: Prepared,
    collection: Collection,
    options: Options,
    seen_shapes: dict[str, SeenShapes] | None = None,
) -> Calibration:
    """Thresholds and scales from statistics; runs no model and reads no data.

    Raises:
        OptionError: when a method does not exist or a `method_for` pattern matches no tensor.
    """
    from onnx_trtcal.methods import solve_all
    from onnx_trtcal.scales import make_scales

    plan = prepared.plan
    methods = assign_methods(options, plan.op_types)
    histograms = _merged(plan.merged, collection)
    thresholds = solve_all(histograms, methods.__getitem__, options.threads)
    scales = make_scales(
        plan,
        thresholds,
        {name: histogram.amax for name, histogram in histograms.items()},
        {name: str(method) for name, method in methods.items()},
        options.zero_scales,
    )
    return Calibration(prepared, options, collection, thresholds, scales, seen_shapes or {})


def _merged(together: tuple[tuple[str, ...], ...], collection: Collection) -> dict[str, Histogram]:
    """The histograms to solve: those of tied tensors added up, each tensor of the tie getting the sum."""
    from onnx_trtcal.stats.histogram import Histogram

    histograms = dict(collection.histograms)
    for names in together:
        total = Histogram(collection.rule)
        for name in names:
            total.merge(collection.histograms[name])
        histograms.update(dict.fromkeys(names, total))
    return histograms


def _check_plan(plan: Plan, model: Model, options: Options) -> None:
    where = str(model.path or "the model in memory")
    if plan.quantized and not options.allow_quantized:
        raise ModelError(
            f"the model is quantized already: it holds {', '.join(plan.quantized)}",
            where=where,
            fix="build it as it is (TensorRT takes its scales from the Q/DQ nodes), turn it back with "
            "onnx-trtcal dequantize, or calibrate what is still float with --allow-quantized",
        )
    if not plan.observed:
        raise ModelError(
            "the model has no float tensor that could get a scale",
            where=where,
            fix="INT8 calibration is for models with float activations; check that this is the right file",
        )


def _prepared_line(folds: FoldReport, plan: Plan) -> str:
    left = f", {len(folds.left)} left" if folds.left else ""
    return (
        f"{len(folds.folded)} BatchNorm folded{left}; {len(plan.groups)} fused groups; "
        f"{len(plan.observed)} tensors to observe for {len(plan.answers)} scales"
    )
