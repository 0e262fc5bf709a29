"""Scales from statistics that were collected earlier, and methods side by side: the model is not run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.data.layout import DEFAULT_BATCH_SIZE
from onnx_trtcal.data.seen_shapes import in_batches
from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.methods.compare import Row, comparable_methods, compare_methods
from onnx_trtcal.options import Options
from onnx_trtcal.stats.store import load_statistics
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.collection import Collection

__all__ = ["compare", "from_statistics", "read_statistics", "solve"]


def solve(
    statistics: str | Path | Collection,
    model: str | Path | onnx.ModelProto,
    options: Options = Options(),
    *,
    listener: Listener | None = None,
) -> Calibration:
    """Solves for scales by another method or for another TensorRT version.

        >>> from onnx_trtcal import Options, calibrate, solve
        >>> collection = calibrate(
        ...     "models/digits_mlp.onnx", "models/digits_calib.npy", Options(max_samples=16)
        ... ).collection
        >>> options = Options(method="minmax", trt_version="8.6.1")
        >>> cache = solve(collection, "models/digits_mlp.onnx", options).cache()
        >>> cache.header, len(cache.scales)
        ('TRT-8601-EntropyCalibration2', 10)

    Args:
        statistics: a statistics file, or statistics in memory.
        model: the model they were collected from, byte for byte: its path, or the model in memory.
        options: the methods, and what the scales are for. `observe`, `range` and `until` are those of the statistics;
            options that concern data play no part.
        listener: receives warnings and what is said of the model.

    Raises:
        StatisticsError: when the statistics cannot be read, or are of another model.
        OptionError: for a TensorRT version without calibrators or a method that does not exist.
        NonFiniteError: when NaN or Inf was counted, and the options do not allow it.
    """
    collection, where = read_statistics(statistics)
    return from_statistics(model, collection, options, listener, where)


def compare(
    statistics: str | Path | Collection,
    model: str | Path | onnx.ModelProto,
    methods: Sequence[str] = (),
    options: Options = Options(),
    *,
    listener: Listener | None = None,
) -> list[Row]:
    """Solves and scores every observed tensor with every method.

        >>> from onnx_trtcal import Options, calibrate, compare
        >>> collection = calibrate(
        ...     "models/digits_mlp.onnx", "models/digits_calib.npy", Options(max_samples=16)
        ... ).collection
        >>> rows = compare(collection, "models/digits_mlp.onnx", ["entropy", "mse", "minmax"])
        >>> rows[1].tensor, rows[1].op, rows[1].best
        ('/fc1/relu/Relu_output_0', 'Relu', 'mse')

    Args:
        statistics: a statistics file, or statistics in memory.
        model: the model they were collected from, byte for byte: its path, or the model in memory.
        methods: as `--method` takes them; none for every one that needs nothing but the statistics.
        options: `threads`, `allow_quantized` and `ort_custom_ops` matter here.
        listener: receives what is said of the model.

    Returns:
        A row per observed tensor, in graph order.

    Raises:
        StatisticsError: when the statistics cannot be read, or are of another model.
        OptionError: for a method that does not exist, or that needs more than the statistics hold.
    """
    chosen = comparable_methods(methods)
    collection, where = read_statistics(statistics)
    prepared = _prepare_for(model, collection, replace(options, parser_names="off"), listener, where)
    histograms = {name: collection.histograms[name] for name in prepared.plan.observed}
    return compare_methods(histograms, prepared.plan.op_types, chosen, options.threads)


def from_statistics(
    model: str | Path | onnx.ModelProto,
    collection: Collection,
    options: Options = Options(),
    listener: Listener | None = None,
    name: str = "",
) -> Calibration:
    """A calibration from statistics collected earlier, without running the model.

    Args:
        model: path of the ONNX file that they were collected from, or that model in memory.
        collection: the statistics.
        options: how to solve; how they were collected is taken from the statistics.
        listener: receives warnings.
        name: the statistics file, for error messages.

    Raises:
        StatisticsError: when the statistics are of another model, or a method needs more than they hold.
    """
    from onnx_trtcal.pipeline import check_finite, check_options
    from onnx_trtcal.pipeline import solve as solve_prepared

    listener = listener or LoggingListener()
    check_options(options)
    if parts := collection.shards:
        listener.warn(
            f"these are the statistics of {parts.named(sorted(parts.have))} only: merge all shards before solving"
        )
    prepared = _prepare_for(model, collection, options, listener, name)
    check_finite(collection, prepared.options)
    fallbacks = {method: method.fallback for method in prepared.methods.values() if method.fallback}
    for method, fallback in fallbacks.items():
        listener.warn(
            f"method {method} runs the model on data, and there are statistics only: {fallback} stands in "
            f"for it; calibrate with the data and --method {method} for more"
        )
    return replace(solve_prepared(prepared, collection), seen_shapes=_batch_shapes(prepared, collection))


def _batch_shapes(prepared: Prepared, collection: Collection) -> dict[str, SeenShapes]:
    """The shapes of batches of the usual size, as the statistics tell those of a sample."""
    most = prepared.options.batch_size or DEFAULT_BATCH_SIZE
    return in_batches(collection.shapes, min(most, max(len(collection.samples), 1)))


def _prepare_for(
    model: str | Path | onnx.ModelProto,
    collection: Collection,
    options: Options,
    listener: Listener | None,
    name: str,
) -> Prepared:
    """The model prepared as it was when the statistics were collected.

    Args:
        model: path of the ONNX file they were collected from, or that model in memory.
        collection: the statistics.
        options: what is asked for; `observe`, `range` and `until` give way to those of the statistics.
        listener: receives what is said of the model.
        name: the statistics file, for error messages.

    Raises:
        StatisticsError: when the statistics are of another model.
    """
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.prepared import prepare

    observe = collection.options.get("observe", options.observe)
    until = tuple(collection.options.get("until", ()))
    collected = replace(options, observe=observe, range=collection.rule, until=until)
    loaded = load(model, options.ort_custom_ops)
    # Before the plan: another model need not have the tensors that these statistics end at.
    collection.origin.check_model(loaded.sha256, name)
    prepared = prepare(loaded, collected, listener, stops=collection.options.get("unrunnable", ()))
    unmeasured = [tensor for tensor in prepared.plan.observed if tensor not in collection.histograms]
    if unmeasured and prepared.plan.products.keys() >= set(unmeasured):
        text = (
            f"the statistics lack the products of {len(unmeasured)} Gemms, which the cache does not name then"
        )
        (listener or LoggingListener()).say(text)
        prepared = prepared.without_products(unmeasured)
    elif unmeasured:
        raise StatisticsError(
            f"the statistics lack {len(unmeasured)} tensors to observe, {unmeasured[0]!r} for one",
            where=name,
            fix="collect them again with this version, and with or without --tie-concat as here",
        )
    return prepared


def read_statistics(statistics: str | Path | Collection) -> tuple[Collection, str]:
    """The statistics, and what to call them in error messages.

    Args:
        statistics: a statistics file, or statistics in memory.

    Raises:
        StatisticsError: when they are neither, or the file cannot be read.
    """
    from onnx_trtcal.stats.collection import Collection

    if isinstance(statistics, (str, Path)):
        return load_statistics(statistics), str(statistics)
    if not isinstance(statistics, Collection):
        raise StatisticsError(
            f"statistics are a path or a Collection, and this is {type(statistics).__name__}",
            fix="pass a file that --save-stats wrote, or Calibration.collection",
        )
    return statistics, ""
