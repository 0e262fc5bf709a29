"""evaluate(): what INT8 costs a model, tensor by tensor and end to end, before any engine is built."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from onnx_trtcal.counting.described import describe, metadata_of
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import ModelError
from onnx_trtcal.evaluation.asked_tasks import read_asked
from onnx_trtcal.evaluation.comparison import Comparison
from onnx_trtcal.evaluation.output_errors import OutputErrors, compared_tensors
from onnx_trtcal.evaluation.paired_run import FloatModel, PairedRun
from onnx_trtcal.evaluation.request import EvaluationOptions, simulated_method, with_transform
from onnx_trtcal.evaluation.row_counts import batch_size_for
from onnx_trtcal.graph.view import link
from onnx_trtcal.provenance import equalization_of
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.support.progress_bar import listener_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import FoldedModel
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.support.progress import Listener

__all__ = ["comparable_pair", "evaluate", "evaluate_model"]


def evaluate(
    model: str | Path | onnx.ModelProto,
    data: Any,
    request: EvaluationOptions = EvaluationOptions(),
    *,
    listener: Listener | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Runs a model in FP32 and in simulated INT8, side by side, and compares them.

    Both run in ONNX Runtime. INT8 is the Q/DQ model with every Q and DQ computed in float as the standard
    defines it, so that it rounds where TensorRT does.

        >>> from onnx_trtcal import EvaluationOptions, evaluate
        >>> request = EvaluationOptions(
        ...     source="models/digits_calib.npy", labels="models/digits_test_labels.csv"
        ... )
        >>> result = evaluate("models/digits_mlp.onnx", "models/digits_test.npy", request)
        >>> result.samples, result.classes, round(result.scores["top-1"].fp32, 3)
        (240, 'logits', 0.983)

    Args:
        model: the float model.
        data: what to compare on, whatever `calibrate` takes.
        request: where the scales come from, the right answers, and how to go about it.
        listener: receives messages and progress.
        transform: makes of each element of `data`, and of data in the request, what is fed, as in `calibrate`.
        progress: show a bar, where no listener is given.

    Raises:
        CalibrationError: one of its family.
    """
    listener = listener_for(listener, progress=progress)
    return evaluate_model(model, transformed(data, transform), with_transform(request, transform), listener)[
        0
    ]


def evaluate_model(
    model: str | Path | onnx.ModelProto, data: Any, request: EvaluationOptions, listener: Listener
) -> tuple[Evaluation, Quantization | None]:
    """As `evaluate`, with the quantized model that was compared; None where the request gives one."""
    options = request.options
    asked = read_asked(request)
    made = _quantized(model, data, request, listener)
    folded, graph, target, feeding = _models(model, made, request, listener)
    float_model = folded.model
    wanted, op_types = _observed(folded)
    if equalization_of(target) != equalization_of(float_model):
        # What was equalized in one of the models only holds other values there.
        scaled = {*equalization_of(target).get("scaled", ()), *equalization_of(float_model).get("scaled", ())}
        wanted = tuple(name for name in wanted if name not in scaled)
    provider = choose_provider(options.provider)
    wanted = tuple(dict.fromkeys((*wanted, *compared_tensors(float_model, link(folded.folded)))))
    run = PairedRun(FloatModel(float_model, provider, options, listener=listener), graph, target, wanted)
    errors = OutputErrors(float_model, folded.folded, run.counted)
    # Where there are several rows for a sample, what has one value a row is not one value a class.
    counted = run.counted.tensors | errors.listed
    tasks = asked.tasks(metadata_of(float_model), run.outputs, listener, counted=counted, required=True)
    stream = open_source(
        data, float_model.inputs, options.preprocess, options.max_samples, listener, options.item_axis
    )
    describe(stream, float_model, options.preprocess, listener)
    stream = stream.settled(feeding) if feeding else run.settle(stream, listener)
    if asked.labels:
        asked.labels.check_count(None if options.max_samples else stream.count, listener)
    comparison = Comparison(run, tasks, errors, options.threads)
    size = batch_size_for(stream.feeding, options.batch_size, run.counted, listener)
    with comparison, listener.progress(stream.count) as advance:
        for both in run.batches(stream, size):
            comparison.take(both)
            advance(both.batch.count)
            # Otherwise this batch's activations would stay until the next one's are all there.
            del both
    return comparison.finish(op_types), made


def _quantized(
    model: str | Path | onnx.ModelProto, data: Any, request: EvaluationOptions, listener: Listener
) -> Quantization | None:
    """The model quantized as the request says; None where it gives a quantized model."""
    from onnx_trtcal.quantization import quantize

    if request.quantized is not None:
        return None
    source = data if request.source is None else request.source
    asked = simulated_method(source, request.options, listener)
    return quantize(model, source, asked, request.qdq, listener=listener)


def _models(
    model: str | Path | onnx.ModelProto,
    made: Quantization | None,
    request: EvaluationOptions,
    listener: Listener,
) -> tuple[FoldedModel, gs.Graph, Model, Feeding | None]:
    """The float model, the quantized graph and what that is exported against: of each, what ONNX Runtime runs.

    The last is what an item of the data is, where the same data was calibrated with.
    """
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.prepared import fold_model

    options = request.options
    if made is not None:
        folded, graph, target = made.source.folded, made.quantized.graph, made.quantized.model
        calibration = made.source.calibration if request.source is None else None
        feeding = calibration.feeding if calibration else None
    else:
        assert request.quantized is not None
        target = load(request.quantized, options.ort_custom_ops)
        folded, graph = fold_model(load(model, options.ort_custom_ops)), import_graph(target)
        feeding = None
    return (*comparable_pair(folded, graph, target, options, listener), feeding)


def comparable_pair(
    folded: FoldedModel, graph: gs.Graph, target: Model, options: Options, listener: Listener
) -> tuple[FoldedModel, gs.Graph, Model]:
    """A float model and its quantized form, both cut down to what ONNX Runtime runs.

    Args:
        folded: the float model.
        graph: the quantized graph.
        target: what `graph` is exported against.
        options: where the models end, custom ops, the provider.
        listener: receives what is cut off.
    """
    from onnx_trtcal.graph.model.exporter import export_model
    from onnx_trtcal.graph.model.float32 import to_float32
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.graph.model.reach import restricted
    from onnx_trtcal.graph.model.runnable import compared_line, find_runnable
    from onnx_trtcal.prepared import fold_model

    gpu = options.provider != "cpu"
    runnable = find_runnable(folded.model, options.until, options.ort_custom_ops, gpu=gpu)
    if runnable.model is folded.model:
        return folded, graph, target
    listener.say(compared_line(runnable))
    target = dataclasses.replace(target, proto=export_model(graph, target))
    target = to_float32(target) if runnable.converted else target
    target, _ = restricted(target, options.until, runnable.stops)
    return fold_model(runnable.model), import_graph(target), target


def _observed(folded: FoldedModel) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The tensors that calibration would observe, and the op types of the nodes that make them."""
    from onnx_trtcal.graph.plan.plan import plan

    planned = plan(folded.model, folded.folded, folded.folds.vanished, groups=folded.groups)
    if planned.quantized:
        raise ModelError(
            f"the model to compare with is quantized itself: it contains {', '.join(planned.quantized)}",
            where=str(folded.model.path or ""),
            fix="give the float model; `onnx-trtcal dequantize` makes one",
        )
    return planned.observed, planned.op_types
