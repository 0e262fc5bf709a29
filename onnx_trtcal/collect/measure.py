"""The only stage that reads data: runs it through the observed model and counts every activation."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from onnx_trtcal.collect.batch_loop import collect
from onnx_trtcal.collect.checkpoint import Checkpoint, looks_path
from onnx_trtcal.collect.chunking import choose_chunking
from onnx_trtcal.collect.convergence import Movement, final_marks, growing_marks
from onnx_trtcal.collect.watch import Watch
from onnx_trtcal.data.batching import Batch, OtherSamplesError, batches
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.data.sources import Sample, Source, open_source
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.methods import solve_all
from onnx_trtcal.run.provider import Provider, choose_provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.cuda import open_gpu
from onnx_trtcal.trt.trtexec import SeenShapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.methods import SecondPass
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.cuda.gpu import Gpu
    from onnx_trtcal.stats.device import Activation
    from onnx_trtcal.support.progress import Listener

__all__ = ["Measured", "measure", "measure_again"]


@dataclass(frozen=True)
class Measured:
    """What a pass over the data leaves behind.

    Attributes:
        collection: the statistics of every observed tensor.
        seen_shapes: per input, the shapes it was fed with.
        movement: how far the scales moved over the last samples; None when there were too few to tell.
    """

    collection: Collection
    seen_shapes: Mapping[str, SeenShapes]
    movement: Movement | None


def measure(
    prepared: Prepared, data: Any, options: Options, listener: Listener, checkpoint: Path | None = None
) -> Measured:
    """Runs the data through the model and counts every observed tensor.

    Args:
        prepared: the model and its plan.
        data: whatever `open_source` takes.
        options: how.
        listener: is told of the data, the provider and the progress.
        checkpoint: file to note progress in, and to go on from when it is there.

    Raises:
        DataError, ModelError, ProviderError: as reading, running and choosing a provider do. Samples counted
            until then are in the checkpoint.
    """
    source = open_source(data, prepared.model.inputs, options.preprocess, options.max_samples)
    for line in source.description:
        listener.say(line)
    provider = choose_provider(options.provider)
    listener.say(str(provider))
    run = _Run(prepared, source, options, provider, listener, _gpu(provider, listener))
    chunking = choose_chunking(prepared, source, options, provider, run.gpu)
    if chunking.reason:
        listener.say(chunking.reason)
    whole = Collection(
        prepared.plan.observed,
        model=prepared.model.sha256,
        rule=options.range,
        options=_belonging(options, chunking.batch_size),
    )
    if options.until_stable and not run.watchable:
        listener.warn("--until-stable is left aside: no scale is known before the second pass")
    if len(chunking.parts) == 1:
        whole = run.count(whole, chunking.batch_size, checkpoint)
        return Measured(whole, run.seen_shapes, run.movement)
    if options.until_stable and run.watchable:
        listener.warn("--until-stable is left aside: it would stop each pass at another sample")
    run.watched = False
    for index, tensors in enumerate(chunking.parts, 1):
        part = Collection(tensors, model=whole.model, rule=whole.rule, options=whole.options)
        noted = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{index}")
        whole.take(run.count(part, chunking.batch_size, noted))
    return Measured(whole, run.seen_shapes, None)


def measure_again(
    prepared: Prepared,
    data: Any,
    options: Options,
    accumulators: Mapping[str, SecondPass],
    listener: Listener,
) -> None:
    """A second pass, for methods that count over a range known from the first.

    Args:
        prepared: the model and its plan.
        data: whatever `open_source` takes, as in the first pass.
        options: how.
        accumulators: per observed tensor to count, what counts it, from `Method.second_pass`.
        listener: receives the progress.
    """
    source = open_source(data, prepared.model.inputs, options.preprocess, options.max_samples)
    run = _Run(prepared, source, options, choose_provider(options.provider), listener)

    def count(batch: Batch, arrays: Mapping[str, Activation]) -> bool:
        # Without a GPU to count on, all of them come to the host.
        values = cast("Mapping[str, np.ndarray]", arrays)
        list(run.pool.map(lambda name: accumulators[name].add(values[name]), values))
        return True

    chunking = choose_chunking(prepared, source, options, run.provider)
    for tensors in chunking.parts:
        wanted = tuple(name for name in tensors if name in accumulators)
        if wanted:
            with listener.progress(source.count) as advance:
                run.every_batch(wanted, chunking.batch_size, count, advance)


class _Run:
    """One model, one source and one provider, for as many passes as it takes."""

    def __init__(
        self,
        prepared: Prepared,
        source: Source,
        options: Options,
        provider: Provider,
        listener: Listener,
        gpu: Gpu | None = None,
    ) -> None:
        self.prepared = prepared
        self.source = source
        self.options = options
        self.provider = provider
        self.listener = listener
        self.gpu = gpu
        self.seen_shapes: dict[str, SeenShapes] = {}
        self.movement: Movement | None = None
        self.watchable = {
            name: method for name, method in prepared.methods.items() if method.needs != "second pass"
        }
        self.watched = bool(self.watchable)
        self.pool = ThreadPoolExecutor(options.threads or os.cpu_count() or 1)
        self._session: Session | None = None

    def count(self, fresh: Collection, batch_size: int, checkpoint: Path | None) -> Collection:
        """A pass over the data that counts the tensors of a collection; goes on from a checkpoint."""
        keeper = Checkpoint(checkpoint, self.options.checkpoint_every, self.listener)
        watch = self._watch(fresh, checkpoint)
        collection = keeper.resume(fresh)
        if not watch.resume(collection):
            keeper.leave_aside("it was not collected with the same --until-stable and methods")
            collection = fresh
        try:
            self._count_on(collection, keeper, watch, batch_size)
        except OtherSamplesError as error:
            if not self.source.countable:
                raise  # there may be no second pass
            keeper.leave_aside(error.what)
            collection = fresh
            self._count_on(collection, keeper, watch, batch_size)
        self.movement = watch.movement
        return collection

    def _count_on(self, collection: Collection, keeper: Checkpoint, watch: Watch, batch_size: int) -> None:
        watch.resume(collection)
        counted = collection.samples

        def count(batch: Batch, arrays: Mapping[str, Activation]) -> bool:
            collection.add(batch.names, batch.hashes, arrays, self.pool, self.gpu)
            # The look is noted before the checkpoint that it belongs to.
            watch.look(collection, batch.count)
            keeper.note(collection, batch.count)
            return not watch.settled

        with self.listener.progress(self.source.count) as advance:
            advance(len(counted))
            try:
                if not watch.settled:
                    self.every_batch(tuple(collection.histograms), batch_size, count, advance, counted)
            except CalibrationError:
                keeper.save(collection)
                raise
        keeper.save(collection)

    def every_batch(
        self,
        tensors: tuple[str, ...],
        batch_size: int,
        count: Callable[[Batch, Mapping[str, Activation]], bool],
        advance: Callable[[int], None],
        counted: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Runs all samples but those counted already, until `count` says that it is enough."""

        def count_and_tell(batch: Batch, arrays: Mapping[str, Activation]) -> bool:
            go_on = count(batch, arrays)
            advance(batch.count)
            return go_on

        rows = () if feeding_of(self.prepared.model.inputs).verbatim else (min(batch_size, len(counted)),)

        def see(sample: Sample) -> None:
            # As the run that counted it fed it.
            for name, array in sample.arrays.items():
                self.seen_shapes.setdefault(name, SeenShapes()).add((*rows, *array.shape))

        stream = batches(
            self.source,
            self.prepared.model.inputs,
            batch_size,
            counted=counted,
            ends=self._marks() if self._exact else (),
            skipped=see,
        )
        with closing(stream):
            collect(self.session(tensors), stream, count_and_tell, self.seen_shapes, self._device)

    def session(self, tensors: tuple[str, ...]) -> Session:
        """The session that observes these tensors; the one before it is let go first."""
        if self._session is None or self._session.outputs != tensors:
            self._session = None
            observed = probe(self.prepared.observed, self.prepared.model, tensors)
            options = self.options
            self._session = Session(observed, self.provider, options.threads, options.ort_custom_ops)
        return self._session

    @property
    def _device(self) -> str | None:
        return "cuda" if self.gpu else None

    @property
    def _exact(self) -> bool:
        """Whether batches end at the marks; TensorRT's range rule depends on the batches and keeps its own."""
        return self.watched and self.options.range == "stable"

    def _marks(self) -> frozenset[int]:
        if self.options.until_stable or self.source.count is None:
            return growing_marks()
        return final_marks(self.source.count)

    def _watch(self, fresh: Collection, checkpoint: Path | None) -> Watch:
        """Looks at the scales at the marks."""
        options = self.options
        methods = self.watchable

        def solve(collection: Collection) -> Mapping[str, float]:
            histograms = collection.tied_histograms(self.prepared.ties)
            solved = {name: histograms[name] for name in methods}
            return solve_all(solved, methods, options.threads)

        job = {
            "model": fresh.model,
            "rule": fresh.rule,
            "options": fresh.options,
            "methods": {name: str(method) for name, method in methods.items()},
            "until_stable": options.until_stable,
            "samples": None if options.until_stable else self.source.count,
        }
        path = looks_path(checkpoint) if checkpoint else None
        return Watch(solve, self._marks() if self.watched else (), options.until_stable, path, job)


def _gpu(provider: Provider, listener: Listener) -> Gpu | None:
    """The GPU to count on, where the model runs on one and that works; says so, or why not."""
    if provider.name != "cuda":
        return None
    gpu, reason = open_gpu()
    listener.say(reason if gpu else f"activations are copied to the CPU to be counted: {reason}")
    return gpu


def _belonging(options: Options, batch_size: int) -> dict[str, Any]:
    """What must be equal for two sets of statistics to add up; what is left at its default is left out."""
    images = {name: value for name, value in asdict(options.preprocess).items() if value is not None}
    belonging = {"observe": options.observe, "preprocess": images}
    # Under TensorRT's rule the first batch sets the ranges.
    return belonging if options.range == "stable" else {**belonging, "batch_size": batch_size}
