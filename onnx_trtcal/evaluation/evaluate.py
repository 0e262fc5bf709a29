"""evaluate(): what INT8 costs a model, tensor by tensor and end to end, before any engine is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.layout import effective_batch_size
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import ModelError, OptionError, did_you_mean
from onnx_trtcal.evaluation.counting import Comparison
from onnx_trtcal.evaluation.labels import Labels, read_labels
from onnx_trtcal.evaluation.metric import load_metric
from onnx_trtcal.evaluation.paired_run import Twins
from onnx_trtcal.options import Options
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.evaluation.outcome import Evaluation
    from onnx_trtcal.graph.model.load import Model

__all__ = ["evaluate"]


def evaluate(
    model: str | Path | onnx.ModelProto,
    data: Any,
    source: Any = None,
    options: Options = Options(),
    qdq: QdqOptions = QdqOptions(),  # noqa: B008 (frozen)
    *,
    quantized: str | Path | onnx.ModelProto | None = None,
    labels: str | Path | Labels | None = None,
    metric: str = "",
    output: str = "",
    listener: Listener | None = None,
) -> Evaluation:
    """Runs a model in FP32 and in simulated INT8, side by side, and compares them.

    Both run in ONNX Runtime. INT8 is the Q/DQ model with every Q and DQ computed in float as the standard
    defines it, so that it rounds where TensorRT does.

    Args:
        model: the float model.
        data: what to compare on, whatever `calibrate` takes.
        source: where the scales come from: other data to calibrate on, a statistics file, a cache; None takes
            `data` itself.
        options: preprocessing, samples, batch size, provider; how to calibrate and to solve.
        qdq: where Q/DQ pairs go.
        quantized: a Q/DQ model to take instead, by whatever tool; `source` and `qdq` then play no part.
        labels: right answers, see `labels.read_labels`.
        metric: `file.py:name` of the user's own metric, see `evaluation.metric`.
        output: the output that holds one value per class; default: the first that does.
        listener: is told how it goes.

    Raises:
        CalibrationError: one of its family.
    """
    ears = listener or LoggingListener()
    make_meter = load_metric(metric) if metric else None
    known = labels if isinstance(labels, Labels) or labels is None else read_labels(labels)
    float_model, graph, target = _models(
        model, data if source is None else source, options, qdq, quantized, ears
    )
    wanted, op_types = _observed(float_model)
    twins = Twins(float_model, graph, target, wanted, choose_provider(options.provider), options)
    if output and output not in twins.outputs:
        raise OptionError(
            f"the model has no output {output!r}",
            fix=did_you_mean(output, twins.outputs) or ", ".join(twins.outputs),
        )
    stream = open_source(data, float_model.inputs, options.preprocess, options.max_samples)
    for line in stream.description:
        ears.say(line)
    comparison = Comparison(twins, known, make_meter, output, options.threads)
    size = effective_batch_size(float_model.inputs, options.batch_size)
    with comparison, ears.progress(stream.count) as advance:
        for step in twins.run(stream, size):
            comparison.take(step)
            advance(step.batch.count)
            # Otherwise this batch's activations would stay until the next one's are all there.
            del step
    return comparison.finish(op_types)


def _models(
    model: str | Path | onnx.ModelProto,
    source: Any,
    options: Options,
    qdq: QdqOptions,
    quantized: str | Path | onnx.ModelProto | None,
    listener: Listener,
) -> tuple[Model, gs.Graph, Model]:
    """The float model, the quantized graph, and what that is exported against."""
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.quantization import quantize

    if quantized is None:
        made = quantize(model, source, options, qdq, listener=listener)
        return made.obtained.model, made.quantized.graph, made.quantized.model
    other = load(quantized, options.ort_custom_ops)
    return load(model, options.ort_custom_ops), import_graph(other), other


def _observed(model: Model) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The tensors calibration would measure, and what makes them."""
    from onnx_trtcal.graph.fold.fold import fold
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.graph.plan.plan import plan

    graph = import_graph(model)
    planned = plan(model, graph, fold(graph).vanished)
    if planned.quantized:
        raise ModelError(
            f"the model to compare with is quantized itself: it holds {', '.join(planned.quantized)}",
            where=str(model.path or ""),
            fix="give the float model; `onnx-trtcal dequantize` makes one",
        )
    return planned.observed, planned.op_types
