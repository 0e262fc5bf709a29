"""calibrate(): from a model and data to a scale for every tensor.

prepare   load, fold, fuse, plan: what to measure
measure   run and count: the only part that reads data
solve     thresholds and scales: a pure function of the other two
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.calibration import Calibration, Prepared
from onnx_trtcal.collect.measure import measure, measure_signed
from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.errors import DataError, ModelError, NonFiniteError, OptionError
from onnx_trtcal.graph.fold.fold import FoldReport, fold
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.graph.model.spill import spill
from onnx_trtcal.graph.plan.plan import Plan, plan
from onnx_trtcal.graph.plan.scope import count_function_calls
from onnx_trtcal.methods import solve_all
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.options import Options
from onnx_trtcal.scales import make_scales
from onnx_trtcal.search import JudgedSamples, chosen_name, judge
from onnx_trtcal.support.progress import Listener, LoggingListener
from onnx_trtcal.tied import tied_histograms
from onnx_trtcal.trt.cache import check_name, header_for

if TYPE_CHECKING:
    import onnx

    from onnx_trtcal.methods.mxnet import SignedHistogram
    from onnx_trtcal.search.task import Chosen
    from onnx_trtcal.stats.collection import Collection

__all__ = ["calibrate", "check_finite", "check_options", "prepare", "solve"]


def calibrate(
    model: str | Path | onnx.ModelProto,
    data: Any,
    options: Options = Options(),
    *,
    listener: Listener | None = None,
    checkpoint: str | Path | None = None,
) -> Calibration:
    """Calibrates a model: what `onnx-trtcal MODEL DATA` does, without writing a file.

    Args:
        model: path of an ONNX file, or a model in memory.
        data: a directory, a file, or an iterable of arrays or of `{input name: array}`.
        options: how; see Options.
        listener: is told of the provider, the preprocessing, warnings and progress.
        checkpoint: file to note progress in every `options.checkpoint_every` samples, and to go on from when
            an earlier call of the same job has left it there; the caller removes it when the result is safe.

    Raises:
        CalibrationError: one of its family, saying what happened, where, and what to do.
    """
    ears = listener or LoggingListener()
    check_options(options)
    prepared = prepare(model, options, ears)
    wants_signed = [
        tensor
        for tensor, method in assign_methods(options, prepared.plan.op_types).items()
        if method.kind.signed
    ]
    if wants_signed and isinstance(data, Iterator):
        raise DataError("method mxnet reads the data twice, and an iterator gives it only once", fix=AGAIN)
    noted = Path(checkpoint) if checkpoint else None
    samples = JudgedSamples(prepared, data, options)
    measured = measure(prepared, samples.data, options, ears, noted)
    check_finite(measured.collection, options)
    signed = {tensor: measured.collection.histograms[tensor].amax for tensor in wants_signed}
    # The first pass may have stopped early, and the second must count the same samples.
    same = replace(options, max_samples=len(measured.collection.samples))
    second = measure_signed(prepared, data, same, signed, ears) if signed else {}
    chosen = judge(prepared, measured.collection, samples, options, ears)
    calibration = solve(prepared, measured.collection, options, second, chosen)
    return replace(calibration, seen_shapes=measured.seen_shapes, movement=measured.movement)


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
        OptionError: when the options contradict each other on this model.
    """
    ears = listener or LoggingListener()
    loaded = load(model, options.ort_custom_ops)
    folded = import_graph(loaded)
    folds = fold(folded)
    spill(folded, loaded)
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
    calls = count_function_calls(loaded.proto)
    if calls:
        ears.warn(
            f"{_many(calls, 'node')} of the model call functions that it defines: the tensors inside get no scale; "
            "onnx.inliner.inline_local_functions brings them into the graph"
        )
    return Prepared(loaded, folded, folds, observed, planned)


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
    signed: Mapping[str, SignedHistogram] | None = None,
    chosen: Mapping[str, Chosen] | None = None,
) -> Calibration:
    """Thresholds and scales from statistics; runs no model and reads no data.

    Args:
        prepared: the model and its plan.
        collection: statistics of every tensor that the plan observes.
        options: the methods, and what the scales are for.
        signed: per tensor whose method wants one, the histogram of the second pass.
        chosen: per tensor whose method runs the model, what it chose; where that is missing, its stand-in for
            statistics alone is taken.

    Raises:
        OptionError: when a method does not exist or a `method_for` pattern matches no tensor.
    """
    plan = prepared.plan
    methods = assign_methods(options, plan.op_types)
    histograms = tied_histograms(plan.ties, collection)
    thresholds = solve_all({**histograms, **(signed or {})}, methods.__getitem__, options.threads)
    thresholds.update({name: item.threshold for name, item in (chosen or {}).items()})
    scales = make_scales(
        plan,
        thresholds,
        {name: histogram.amax for name, histogram in histograms.items()},
        {name: chosen_name(method, (chosen or {}).get(name)) for name, method in methods.items()},
        options.zero_scales,
    )
    return Calibration(prepared, options, collection, thresholds, scales)


def check_not_quantized(found: Sequence[str], where: str, options: Options) -> None:
    """Refuses a model that somebody quantized already, unless the options allow it.

    Args:
        found: op types that show it.
        where: the model file.

    Raises:
        ModelError: naming the op types.
    """
    if found and not options.allow_quantized:
        raise ModelError(
            f"the model is quantized already: it holds {', '.join(found)}",
            where=where,
            fix="build it as it is (TensorRT takes its scales from the Q/DQ nodes), turn it back with "
            "onnx-trtcal dequantize, or calibrate what is still float with --allow-quantized",
        )


def _check_plan(plan: Plan, model: Model, options: Options) -> None:
    where = str(model.path or "the model in memory")
    for name in plan.owners:
        check_name(name, where)
    check_not_quantized(plan.quantized, where, options)
    if plan.ties and options.range == "tensorrt":
        raise OptionError(
            "--tie-concat adds up histograms, and those of --range tensorrt do not line up",
            fix="use --range stable, whose histograms add up exactly",
        )
    if not plan.observed and plan.quantized:
        raise ModelError(
            "nothing in the model is float any more: its Q/DQ nodes hold every scale",
            where=where,
            fix="build it as it is; there is nothing left to calibrate",
        )
    if not plan.observed:
        raise ModelError(
            "the model has no float tensor that could get a scale"
            + (" outside its If, Loop and Scan bodies" if plan.subgraph_tensors else ""),
            where=where,
            fix="INT8 calibration is for models with float activations; check that this is the right file",
        )


def _prepared_line(folds: FoldReport, plan: Plan) -> str:
    normalizations = sum(item.op == "BatchNormalization" for item in folds.folded)
    others = len(folds.folded) - normalizations
    parts = [f"{normalizations} BatchNorm folded"]
    if others:
        parts.append(f"{others} per-channel Add, Sub, Mul or Div folded")
    if folds.left:
        parts.append(f"{len(folds.left)} BatchNorm left")
    return (
        f"{', '.join(parts)}; {_many(len(plan.groups), 'fused group')}; "
        f"{_many(len(plan.observed), 'tensor')} to observe for {_many(len(plan.owners), 'scale')}"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
