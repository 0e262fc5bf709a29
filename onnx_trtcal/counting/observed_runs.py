"""The observed model and the data it is run on, for as many passes as it takes."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Protocol

from onnx_trtcal.counting.batch_loop import collect
from onnx_trtcal.counting.parallel_loop import collect_in_parallel
from onnx_trtcal.counting.run_setup import RunSetup
from onnx_trtcal.counting.trial import MOST_TRIED, TRIAL, Trial, settle, tolerance
from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.graph.independent_rows import rows_are_independent
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run.arena import release_free_memory
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from onnx_trtcal.counting.batch_loop import Counting
    from onnx_trtcal.counting.chunking import Chunking
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.device_array import Activation
    from onnx_trtcal.support.progress import Listener

__all__ = ["Keeper", "ObservedRuns"]


class Keeper(Protocol):
    """Who keeps some of the samples that are counted."""

    def note(self, batch: Batch, arrays: Mapping[str, Activation]) -> None:
        """Sees what the model makes of a batch, in any order, from any thread; arrays are valid until it returns."""

    def offer(self, batch: Batch) -> None:
        """Receives a batch that is counted, in the order of the data; its arrays are valid until this returns."""


class ObservedRuns:
    """Runs one model over one source; holds one session at a time.

    Args:
        prepared: the model and its plan.
        source: the data, and how it is fed.
        options: threads and custom ops of the session.
        provider: what to run on.
        memory: ONNX Runtime's name of the device that keeps the activations; None for the host.
        listener: receives what is to be said of the session.
        keeper: receives every batch that is counted, and every sample that an earlier run has counted.

    Attributes:
        source: as given.
        setup: how the model is run.
        seen_shapes: per input, the shapes it was fed with so far.
    """

    def __init__(
        self,
        prepared: Prepared,
        source: Source,
        options: Options,
        provider: Provider,
        memory: str | None = None,
        listener: Listener | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.source = source
        self.setup = RunSetup(threads=options.threads)
        self.seen_shapes: dict[str, SeenShapes] = {}
        self._prepared = prepared
        self._options = options
        self._provider = provider
        self._memory = memory
        self._listener = listener
        self._keeper = keeper
        self._session: Session | None = None
        self._opened: tuple[tuple[str, ...], int | None, bool] | None = None

    def every_batch(
        self,
        tensors: tuple[str, ...],
        batch_size: int,
        counting: Counting,
        counted: Sequence[tuple[str, str]] = (),
        ends: Container[int] = (),
    ) -> None:
        """Runs all samples but those counted already, until `counting` says that it is enough.

        Args:
            tensors: what to observe.
            batch_size: samples per batch.
            counting: counts and finishes each batch, see `collect` and `collect_in_parallel`.
            counted: (name, hash) of the samples that an earlier run has counted.
            ends: sample counts at which a batch ends even if it falls short.

        Raises:
            DataError: from reading the data.
            ModelError: when ONNX Runtime fails on a batch.
            OtherSamplesError: when the data does not begin with the counted samples.
        """
        axes = self.source.feeding.axes

        def see(batch: Batch) -> None:
            # Items are stacked as the run that counted them fed them.
            rows = (min(batch_size, len(counted)),)
            for name, array in batch.feeds.items():
                axis = axes[name]
                shape = array.shape if axis is None else array.shape[:axis] + rows + array.shape[axis + 1 :]
                self.seen_shapes.setdefault(name, SeenShapes(item_axis=batch.feeding.free_axis(name))).add(
                    shape
                )
            self.keep(batch)

        stream = batches(self.source, batch_size, counted=counted, ends=ends, skipped=see)
        session = self._observing(tensors)
        with closing(stream):
            if self.setup.workers > 1:
                collect_in_parallel(session, stream, counting, self.seen_shapes, self.setup)
            else:
                collect(session, stream, counting, self.seen_shapes, self._memory, self.setup.rows)

    def note(self, batch: Batch, arrays: Mapping[str, Activation]) -> None:
        """Shows whoever keeps samples what became of them."""
        if self._keeper:
            self._keeper.note(batch, arrays)

    def keep(self, batch: Batch) -> None:
        """Passes a batch on to whoever keeps samples."""
        if self._keeper:
            self._keeper.offer(batch)

    def settle(self, chunking: Chunking, listener: Listener) -> None:
        """Finds out what an item of the data is: from the graph, or with the session that counts it, in its memory.

        Args:
            chunking: the observed tensors, and how much of them may be alive.
            listener: receives what was found.
        """
        if not self.source.feeding.open:
            return
        prepared, model, fixed = self._prepared, self._prepared.model, self.source.feeding.batch
        if rows_are_independent(prepared.observed, model.inputs, prepared.plan.observed):
            self.source = settle(self.source, None, listener)
            return
        workers = 1 if fixed else self.setup.workers
        # A run of several items is alive together with that of one of them.
        alive = 2 * fixed if fixed else MOST_TRIED + workers
        tensors = chunking.fitting(alive)
        if not fixed and len(tensors) < len(prepared.plan.observed):
            workers, alive = 1, max(3, min(alive, chunking.batch_size))
            tensors = chunking.fitting(alive)
        if not tensors:
            listener.say("axis 0 is taken for the batch axis: --memory-limit leaves no room to try that")
            return
        allowed = tolerance((model.elem_types.get(name, 0) for name in tensors), self._provider)
        run = partial(self._observing(tensors).run, sample=TRIAL)
        self.source = settle(self.source, Trial(tensors, run, allowed, alive - workers, workers), listener)
        release_free_memory()  # the batches to come are of another size

    def close(self) -> None:
        """Frees the session, and what it has left of the memory of its runs."""
        self._session = None
        release_free_memory()

    def _observing(self, tensors: tuple[str, ...]) -> Session:
        """The session that observes these tensors; the one before it is freed first."""
        wanted = (tensors, self.setup.threads, self.setup.any_order)
        if self._session is None or self._opened != wanted:
            self._session, self._opened = None, wanted
            observed = probe(self._prepared.observed, self._prepared.model, tensors)
            self._session = Session(
                observed,
                self._provider,
                self.setup.threads,
                self._options.ort_custom_ops,
                any_order=self.setup.any_order,
                listener=self._listener,
            )
            del observed
            release_free_memory()  # of what the session was made from
        return self._session
