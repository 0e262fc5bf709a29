"""The verbs on statistics collected earlier: none of them runs the model or reads data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.methods.compare import Row, comparable_methods, compare_methods
from onnx_trtcal.options import Options
from onnx_trtcal.scale_source import from_statistics, prepare_for
from onnx_trtcal.shards import merge_files
from onnx_trtcal.stats import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["compare", "load_statistics", "merge", "save_statistics", "solve"]


def load_statistics(path: str | Path) -> Collection:
    """Reads a statistics file, as `--save-stats`, `save_statistics` or `onnx-trtcal merge` wrote it.

        >>> from onnx_trtcal import Options, calibrate, load_statistics, save_statistics
        >>> options = Options(max_samples=16)
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", options)
        >>> save_statistics("digits_mlp.stats", calibration.collection)
        >>> len(load_statistics("digits_mlp.stats").samples)
        16

    Raises:
        StatisticsError: when the file cannot be read, or is damaged, foreign or of a newer version.
    """
    return store.load(path)


def save_statistics(path: str | Path, statistics: Collection) -> None:
    """Writes a statistics file, whole or not at all; equal statistics give equal bytes.

        >>> from onnx_trtcal import Options, calibrate, load_statistics, save_statistics
        >>> options = Options(max_samples=16)
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", options)
        >>> save_statistics("digits_mlp.stats", calibration.collection)
        >>> load_statistics("digits_mlp.stats") == calibration.collection
        True

    Args:
        path: where to write.
        statistics: what `calibrate` collected (`Calibration.collection`) or `merge` added up.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    store.save(path, statistics)


def merge(paths: Sequence[str | Path]) -> Collection:
    """Adds up the statistics of shards collected apart: what one run over all samples would have counted.

    The order of the files does not matter; two collections are in memory at a time, however many files there are.

        >>> import numpy as np
        >>> from onnx_trtcal import calibrate, merge, save_statistics
        >>> samples = np.load("models/digits_calib.npy")
        >>> for name, shard in (("a.stats", samples[:8]), ("b.stats", samples[8:20])):
        ...     save_statistics(name, calibrate("models/digits_mlp.onnx", shard).collection)
        >>> len(merge(["a.stats", "b.stats"]).samples)
        20

    Args:
        paths: one statistics file or more.

    Raises:
        StatisticsError: when a file cannot be read, when two do not belong together (another model, range
            rule, preprocessing …), or when two count the same content; both files are named.
    """
    return merge_files(paths)


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
        options: the methods, and what the scales are for. `observe` and `range` are those of the statistics;
            options that concern data play no part.
        listener: receives warnings and what is said of the model.

    Raises:
        StatisticsError: when the statistics cannot be read, or are of another model.
        OptionError: for a TensorRT version without calibrators or a method that does not exist.
        NonFiniteError: when NaN or Inf was counted, and the options do not allow it.
    """
    collection, where = _read(statistics)
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
    collection, where = _read(statistics)
    prepared, _ = prepare_for(model, collection, options, listener, where)
    return compare_methods(collection.histograms, prepared.plan.op_types, chosen, options.threads)


def _read(statistics: str | Path | Collection) -> tuple[Collection, str]:
    """The statistics, and what to call them in error messages."""
    if isinstance(statistics, (str, Path)):
        return store.load(statistics), str(statistics)
    return statistics, ""
