"""The only stage that reads data: runs it through the observed model and counts every activation."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from onnx_trtcal.counting.chunking import choose_chunking
from onnx_trtcal.counting.counting_pass import CountingPass
from onnx_trtcal.counting.described import describe
from onnx_trtcal.counting.forecast import check_fits
from onnx_trtcal.counting.observed_runs import ObservedRuns
from onnx_trtcal.counting.run_setup import choose_run_setup
from onnx_trtcal.counting.scale_watch import ScaleWatch
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.counting_device import open_counting_device
from onnx_trtcal.stats.host import HostDevice
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.counting.convergence import Movement
    from onnx_trtcal.counting.observed_runs import Keeper
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.methods import SecondPass
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.support.device_array import Activation
    from onnx_trtcal.support.progress import Listener

__all__ = ["Measured", "measure", "measure_again"]


@dataclass(frozen=True)
class Measured:
    """What the passes over the data leave behind.

    Attributes:
        collection: the statistics of every observed tensor.
        seen_shapes: per input, the shapes it was fed with.
        movement: how far the scales moved over the last samples; None when there were too few to tell.
        source: the data, with what an item of it is.
    """

    collection: Collection
    seen_shapes: Mapping[str, SeenShapes]
    movement: Movement | None
    source: Source


def measure(
    prepared: Prepared,
    data: Any,
    options: Options,
    listener: Listener,
    checkpoint: Path | None = None,
    keeper: Keeper | None = None,
    opened: Callable[[Source], None] | None = None,
) -> Measured:
    """Runs the data through the model and counts every observed tensor.

    Args:
        prepared: the model and its plan.
        data: whatever `open_source` takes.
        options: how.
        listener: receives what is to be said of the data and the provider, and the progress.
        checkpoint: file to save progress in, and to resume from when it is there.
        keeper: receives every batch, and what was observed of it.
        opened: receives the data before any of it is run.

    Raises:
        DataError: from reading the data; samples counted until then are in the checkpoint.
        ModelError: when ONNX Runtime fails on the model; likewise.
        ProviderError: when the provider asked for cannot run.
    """
    source = open_source(
        data, prepared.model.inputs, options.preprocess, options.max_samples, listener, options.item_axis
    )
    describe(source, prepared.model, options.preprocess, listener)
    if opened:
        opened(source)
    provider = choose_provider(options.provider)
    listener.say(str(provider))
    device, how_counted = open_counting_device(provider.device)
    if how_counted:
        listener.say(how_counted)
    runs = ObservedRuns(prepared, source, options, provider, device.memory, listener, keeper)
    chunking = choose_chunking(prepared, source, options, provider, device)
    runs.setup = choose_run_setup(prepared, chunking, source, options, device)
    runs.settle(chunking, listener)
    if runs.source is not source:
        source = runs.source
        chunking = choose_chunking(prepared, source, options, provider, device)
        runs.setup = choose_run_setup(prepared, chunking, source, options, device)
    if chunking.reason:
        listener.say(chunking.reason)
    check_fits(
        chunking,
        runs.setup,
        device,
        batch_is_fixed=bool(source.feeding.verbatim) or source.feeding.batch is not None,
    )
    scales = ScaleWatch(prepared, options, source.count, len(chunking.passes))
    if options.until_stable and scales.obstacle:
        listener.warn(f"--until-stable is ignored: {scales.obstacle}")
    whole = Collection(
        prepared.plan.observed,
        model=prepared.model.sha256,
        rule=options.range,
        options=_belonging(prepared, options, source, chunking.batch_size),
        shards=source.shards,
    )
    with _threads(options) as pool, closing(runs):
        counting = CountingPass(
            runs, scales, device, pool, listener, chunking.batch_size, options.checkpoint_every
        )
        if len(chunking.passes) == 1:
            whole, movement = counting.count(whole, checkpoint)
            return Measured(whole, runs.seen_shapes, movement, source)
        for index, tensors in enumerate(chunking.passes, 1):
            part = Collection(
                tensors, model=whole.model, rule=whole.rule, options=whole.options, shards=whole.shards
            )
            path = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{index}")
            whole.take(counting.count(part, path)[0])
    return Measured(whole, runs.seen_shapes, None, source)


def measure_again(
    prepared: Prepared,
    source: Source,
    options: Options,
    accumulators: Mapping[str, SecondPass],
    listener: Listener,
) -> None:
    """A second pass, for methods that count over a range known from the first.

    Args:
        prepared: the model and its plan.
        source: that of the first pass.
        options: how.
        accumulators: per observed tensor to count, what counts it, from `Method.second_pass`.
        listener: receives the progress.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on the model.
    """
    provider = choose_provider(options.provider)
    runs = ObservedRuns(prepared, source, options, provider, listener=listener)
    chunking = choose_chunking(prepared, source, options, provider, HostDevice())
    with _threads(options) as pool, closing(runs):
        for tensors in chunking.passes:
            wanted = tuple(name for name in tensors if name in accumulators)
            if wanted:
                with listener.progress(source.count) as advance:
                    runs.every_batch(wanted, chunking.batch_size, _SecondCount(accumulators, pool, advance))


class _SecondCount:
    """What a second pass does with each batch, see `batch_loop.Counting`.

    Args:
        accumulators: per observed tensor, what counts it.
        pool: threads to count with.
        advance: receives how many samples each batch had.
    """

    def __init__(
        self, accumulators: Mapping[str, SecondPass], pool: Executor, advance: Callable[[int], None]
    ) -> None:
        self._accumulators = accumulators
        self._pool = pool
        self._advance = advance

    def admit(self, _: Batch) -> bool:
        """Nothing has to wait for any batch."""
        return False

    def count(
        self, _: Batch, arrays: Mapping[str, Activation], __: Callable[[int], Mapping[str, Activation]]
    ) -> None:
        """Counts a batch."""
        # Without a device to count on, all of them are in the host's memory.
        values = cast("Mapping[str, np.ndarray]", arrays)
        list(self._pool.map(lambda name: self._accumulators[name].add(values[name]), values))

    def finish(self, batch: Batch) -> bool:
        """Shows the progress."""
        self._advance(batch.count)
        return True


def _threads(options: Options) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(options.threads or cores())


def _belonging(prepared: Prepared, options: Options, source: Source, batch_size: int) -> dict[str, Any]:
    """What must be equal for two sets of statistics to add up; what is left at its default is left out."""
    images = _said(asdict(options.preprocess))
    belonging: dict[str, Any] = {"observe": options.observe, "preprocess": images}
    if source.feeding.asked:
        belonging["item_axis"] = dict(source.feeding.axes)
    # Where the observed graph ends, short of the model's outputs.
    if options.until:
        belonging["until"] = list(options.until)
    if prepared.stops:
        belonging["unrunnable"] = list(prepared.stops)
    # Under TensorRT's rule the first batch sets the ranges.
    return belonging if options.range == "stable" else {**belonging, "batch_size": batch_size}


def _said(images: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not at their default, of each input as well."""
    said = {name: value for name, value in images.items() if value is not None}
    if "per_input" in said:
        said["per_input"] = {name: _said(each) for name, each in said["per_input"].items()}
    return said
