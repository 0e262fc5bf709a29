"""One pass over the data that counts some observed tensors, watches their scales and saves checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.counting.checkpoint import Checkpoint
from onnx_trtcal.counting.forecast import Forecast, memory_told
from onnx_trtcal.counting.tally import Tally
from onnx_trtcal.counting.warm_up import import_kernels
from onnx_trtcal.data.batching import Batch, OtherSamplesError
from onnx_trtcal.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from onnx_trtcal.counting.convergence import Movement, Watch
    from onnx_trtcal.counting.observed_runs import ObservedRuns
    from onnx_trtcal.counting.scale_watch import ScaleWatch
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.counter import CountingDevice
    from onnx_trtcal.support.device_array import Activation
    from onnx_trtcal.support.progress import Listener

__all__ = ["CountingPass"]

# Samples that workers count before their shares are gathered, whatever else gives rise to that.
_MOST_APART = 4096


@dataclass(frozen=True)
class CountingPass:
    """How a pass counts.

    Attributes:
        runs: the model and the data.
        scales: makes the watch over the scales.
        device: where activations are counted.
        pool: threads that count on the host.
        listener: receives the progress, and what becomes of a checkpoint.
        batch_size: samples per run.
        checkpoint_every: samples between two checkpoints.
    """

    runs: ObservedRuns
    scales: ScaleWatch
    device: CountingDevice
    pool: Executor
    listener: Listener
    batch_size: int
    checkpoint_every: int

    def count(self, fresh: Collection, path: Path | None) -> tuple[Collection, Movement | None]:
        """Counts the tensors of a collection; resumes from a checkpoint when there is one of the same job.

        Args:
            fresh: the collection, still empty.
            path: file for the checkpoint; None to keep none.

        Returns:
            The collection that holds the counts, and how far the scales moved over the last samples; None when
            there were too few to tell.

        Raises:
            DataError: from reading the data; what was counted until then is in the checkpoint.
            ModelError: when ONNX Runtime fails on a batch; likewise.
        """
        checkpoint = Checkpoint(path, self.checkpoint_every, self.listener)
        watch = self.scales.watch(fresh, path)
        collection = checkpoint.resume(fresh)
        if not watch.resume(collection):
            checkpoint.ignore("it was not collected with the same --until-stable and methods")
            collection = fresh
        forecast = Forecast(self.runs.source.count, len(fresh.histograms), path, self.listener)
        try:
            self._count_into(collection, checkpoint, watch, forecast)
        except OtherSamplesError as error:
            if not self.runs.source.countable:
                raise  # the data may not be read again
            checkpoint.ignore(error.what)
            collection = fresh
            self._count_into(collection, checkpoint, watch, forecast)
        return collection, watch.movement

    def _count_into(
        self, collection: Collection, checkpoint: Checkpoint, watch: Watch, forecast: Forecast
    ) -> None:
        watch.resume(collection)
        counted = collection.samples
        with (
            self.listener.progress(self.runs.source.count) as advance,
            memory_told(f"with batches of {self.batch_size}"),
        ):
            advance(len(counted))
            tally = Tally(collection, self.runs.setup.workers, self.pool)
            counting = _Counting(tally, checkpoint, watch, forecast, self.runs, advance)
            try:
                if not watch.settled:
                    collection.count_on(self.device)
                    self.runs.every_batch(
                        tuple(collection.histograms),
                        self.batch_size,
                        counting,
                        counted,
                        self.scales.batch_ends,
                    )
            except CalibrationError:
                # Not where memory runs out: that may be in the middle of a batch's counts.
                tally.gather()
                checkpoint.save(collection)
                raise
        tally.gather()
        checkpoint.save(collection)


class _Counting:
    """What a pass does with each batch, see `batch_loop.Counting`.

    Args:
        tally: counts.
        checkpoint: saves now and then.
        watch: looks at the scales now and then.
        forecast: of how long it will take.
        runs: keeps samples.
        advance: receives how many samples each batch had.
    """

    def __init__(
        self,
        tally: Tally,
        checkpoint: Checkpoint,
        watch: Watch,
        forecast: Forecast,
        runs: ObservedRuns,
        advance: Callable[[int], None],
    ) -> None:
        self._tally = tally
        self._checkpoint = checkpoint
        self._watch = watch
        self._forecast = forecast
        self._runs = runs
        self._advance = advance
        self._done = len(tally.collection.samples)
        self._pause = False

    def admit(self, batch: Batch) -> bool:
        """Takes note of the next batch; see `batch_loop.Counting`."""
        tally = self._tally
        tally.admit(batch)
        self._pause = (
            self._watch.will_look(tally.under_way)
            or self._checkpoint.will_save(tally.under_way)
            or tally.apart >= _MOST_APART
        )
        return self._pause

    def count(
        self, batch: Batch, arrays: Mapping[str, Activation], alone: Callable[[int], Mapping[str, Activation]]
    ) -> None:
        """Counts a batch; see `batch_loop.Counting`."""
        import_kernels()
        self._runs.note(batch, arrays)
        self._tally.count(batch, arrays, alone)

    def finish(self, batch: Batch) -> bool:
        """Saves, looks and passes on what a batch gives rise to; see `batch_loop.Counting`."""
        tally, collection = self._tally, self._tally.collection
        tally.finish(batch)
        if self._pause and not tally.under_way:
            tally.gather()
        # The look is saved before the checkpoint that it belongs to.
        self._watch.look(collection, batch.count)
        self._checkpoint.note(collection, list(zip(batch.names, batch.hashes, strict=True)))
        self._done += batch.count
        self._forecast.note(batch, self._done)
        self._runs.keep(batch)
        self._advance(batch.count)
        return not self._watch.settled
