"""collect(): the statistics of a model over data, or over one shard of it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.counting.forecast import memory_told
from onnx_trtcal.counting.measure import measure
from onnx_trtcal.counting.warm_up import warm_up
from onnx_trtcal.data.shard import Shard, Sharded, shard_of
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import OptionError
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.support.output_lock import locked
from onnx_trtcal.support.progress import LoggingListener
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["check_shardable", "collect", "collect_for"]


def collect(
    model: str | Path | onnx.ModelProto | Model,
    data: Any,
    options: Options = Options(),
    *,
    shard: Shard | str | None = None,
    listener: Listener | None = None,
    checkpoint: str | Path | None = None,
    transform: Callable[[Any], Any] | None = None,
) -> Collection:
    """Collects statistics: what `onnx-trtcal collect` does, without writing a file.

    The statistics of all shards, merged, are those of one run over all of the data: with `save_statistics`, the same
    bytes.

        >>> from onnx_trtcal import Options, collect
        >>> options = Options(max_samples=16)
        >>> len(collect("models/digits_mlp.onnx", "models/digits_calib.npy", options).samples)
        16
        >>> shard = collect("models/digits_mlp.onnx", "models/digits_calib.npy", options, shard="3/5")
        >>> [name for name, _ in shard.samples]
        ['digits_calib.npy[12]', 'digits_calib.npy[2]', 'digits_calib.npy[7]']

    Args:
        model: path of an ONNX file, a model in memory, or one that is loaded already.
        data: as `calibrate` takes it. Every shard is given all of it.
        options: how; of methods, `until_stable` alone asks.
        shard: which part of the data to count: a Shard, or I/N with I from 1 to N. Sample p, from 0, is in shard
            p % N + 1. One that gets no sample has empty statistics, which merge with the others.
        listener: receives the provider, the preprocessing, warnings and progress.
        checkpoint: file to save progress in every `options.checkpoint_every` samples, and to resume from when
            an earlier call of the same job has left it there; the caller removes it when the result is safe.
        transform: as that of `calibrate`.

    Raises:
        OptionError: also where the options and a shard do not go together.
        CalibrationError: one of its family, saying what happened, where, and what to do.
    """
    listener = listener or LoggingListener()
    return collect_for(model, transformed(data, transform), options, listener, shard_of(shard), checkpoint)


def collect_for(
    model: str | Path | onnx.ModelProto | Model,
    data: Any,
    options: Options,
    listener: Listener,
    shard: Shard | None = None,
    checkpoint: str | Path | None = None,
    opened: Callable[[Source], None] | None = None,
) -> Collection:
    """As `collect`; `opened` receives the data before any of it is run."""
    if shard:
        check_shardable(options)
    loaded = load(model, options.ort_custom_ops)
    warm_up(options.range)
    prepared = prepare(loaded, options, listener)
    if options.until_stable is None:
        # Nobody watches the scales.
        prepared = replace(prepared, methods={})
    path = Path(checkpoint) if checkpoint else None
    with locked([path] if path else []), memory_told("before the first batch"):
        measured = measure(
            prepared, Sharded(data, shard) if shard else data, options, listener, path, opened=opened
        )
    feeding, collection = measured.source.feeding, measured.collection
    if shard and shard.of > 1 and feeding.full_only:
        listener.warn(
            f"the rows of a batch of {feeding.batch} influence each other in this model, and shards make other batches "
            "of the data than one run does: their merged statistics differ from those of one run"
        )
    if shard and not collection.samples:
        count = measured.source.whole_count
        held = "the data has fewer" if count is None else f"the data has {many(count, 'sample')}"
        listener.warn(
            f"shard {shard} holds no sample: {held}. Its statistics are empty, and merge as all others do"
        )
    if not options.allow_nonfinite:
        _warn_nonfinite(collection, listener)
    return collection


def check_shardable(options: Options) -> None:
    """Refuses options under which shards cannot add up to one run.

    Raises:
        OptionError: saying why.
    """
    if options.until_stable is not None:
        raise OptionError(
            "--until-stable and shards exclude each other: a run stops by what it has counted, and no shard knows what "
            "the others have",
            fix="leave it out; --max-samples N makes all shards together count N samples",
        )
    if options.range == "tensorrt":
        raise OptionError(
            "statistics of --range tensorrt cannot be merged, so there are no shards of them: each run's ranges depend "
            "on its first batch",
            fix="collect with --range stable",
        )


def _warn_nonfinite(collection: Collection, listener: Listener) -> None:
    bad = [name for name, each in collection.histograms.items() if each.nan or each.inf]
    if bad:
        listener.warn(
            f"NaN or Inf in {len(bad)} of {len(collection.histograms)} observed tensors, first in {bad[0]!r}, in "
            f"sample {collection.first_nonfinite[bad[0]]}: solve takes these statistics with --allow-nonfinite only"
        )
