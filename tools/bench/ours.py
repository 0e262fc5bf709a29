"""This project's calibration: whole as a user runs it, and stage by stage."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.process import Spec, Timer
    from onnx_trtcal.options import Options

__all__ = ["first_sample", "rewrite", "stages", "whole"]


class Watch:
    """A listener that passes each batch on to a timer, and notes when the first samples were counted."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self.began = self.counted = 0.0

    def say(self, text: str) -> None:
        """Facts about the run are of no interest here."""

    def warn(self, text: str) -> None:
        """Nor are warnings: random weights give rise to some."""

    @contextlib.contextmanager
    def progress(
        self,
        total: int | None,  # noqa: ARG002 (the signature of a listener)
        work: str = "",  # noqa: ARG002
    ) -> Iterator[Callable[[int], None]]:
        self.began = time.perf_counter()
        yield self._advance

    def _advance(self, count: int) -> None:
        if count:
            self.counted = self.counted or time.perf_counter()
            self._timer.tick(count)


def whole(spec: Spec, timer: Timer) -> None:
    """From model and data on disk to the cache on disk and the look at the end result, as the command does it."""
    with timer("start"):
        from onnx_trtcal.__main__ import spare_collections

        spare_collections()
        from onnx_trtcal import calibrate, check_end_result
        from onnx_trtcal.pipeline import solve  # noqa: F401 (what takes time to import)
    options, watch = _options(spec), Watch(timer)
    begin = time.perf_counter()
    calibration = calibrate(spec.model, spec.data, options, listener=watch)
    timer.add("load", watch.began - begin)
    timer.add("run", time.perf_counter() - watch.began)
    with timer("write"):
        calibration.write_cache(Path(spec.scratch, "calibration.cache"))
    with timer("check"):
        check_end_result(calibration)


def stages(spec: Spec, timer: Timer) -> None:
    """The same work with nothing overlapped, so that every stage can be told apart."""
    with timer("start"):
        _import_all()
        from onnx_trtcal.data.batching import batches
        from onnx_trtcal.data.sources import open_source
        from onnx_trtcal.evaluation.end_result import check_end_result
        from onnx_trtcal.graph.model.load import load
        from onnx_trtcal.graph.plan.plan import plan
        from onnx_trtcal.graph.probe import probe
        from onnx_trtcal.methods.assign import assign_methods
        from onnx_trtcal.pipeline import solve
        from onnx_trtcal.prepared import Prepared, fold_model
        from onnx_trtcal.run.provider import choose_provider
        from onnx_trtcal.run.session import Session
        from onnx_trtcal.search.outputs import compared_outputs
        from onnx_trtcal.search.samples import SampleKeeper
        from onnx_trtcal.stats.collection import Collection
    options = _options(spec)
    with timer("load"):
        model = load(spec.model)
    with timer("rewrite"):
        folded = fold_model(model)
        planned = plan(model, folded.folded, folded.folds.vanished, groups=folded.groups)
        methods = assign_methods(options, planned.op_types)
        prepared = Prepared(
            **vars(folded),
            original=model,
            stops=(),
            observed=folded.folded,
            plan=planned,
            options=options,
            methods=methods,
        )
        probed = probe(folded.folded, model, planned.observed)
    with timer("session"):
        session = Session(probed, choose_provider(options.provider), spec.threads)
    collection = Collection(planned.observed, model=model.sha256)
    source = open_source(spec.data, model.inputs, max_samples=spec.samples)
    keeper = SampleKeeper(options.check_samples, results=compared_outputs(prepared))
    with ThreadPoolExecutor(spec.threads) as pool:
        feeds = batches(source, spec.batch)
        while True:
            with timer("data"):
                batch = next(feeds, None)
            if batch is None:
                break
            with timer("run"):
                arrays = session.run(batch.feeds, batch.names[0])
            with timer("histogram"):
                observed = dict(zip(session.outputs, arrays, strict=True))
                collection.add(batch.names, batch.hashes, observed, pool)
            keeper.note(batch, observed)
            keeper.offer(batch)
            timer.activations = max(timer.activations, sum(array.nbytes for array in arrays))
            timer.tick(batch.count)
            del arrays, observed
    with timer("solve"):
        calibration = solve(prepared, collection)
    with timer("write"):
        calibration.write_cache(Path(spec.scratch, "calibration.cache"))
    with timer("check"):
        check_end_result(
            replace(calibration, kept=keeper.feeds(), kept_results=keeper.results(), feeding=source.feeding)
        )


def rewrite(spec: Spec, timer: Timer) -> None:
    """Load, fold, fuse, plan and expose, with the modules imported already."""
    with timer("start"):
        _import_all()
        from onnx_trtcal.graph.probe import probe
        from onnx_trtcal.prepared import prepare
    with timer("rewrite"):
        prepared = prepare(spec.model, _options(spec))
        probe(prepared.observed, prepared.model, prepared.plan.observed)


def first_sample(spec: Spec, timer: Timer) -> None:
    """From the start of the process to the first sample counted."""
    from onnx_trtcal.counting.measure import measure
    from onnx_trtcal.prepared import prepare

    watch = Watch(timer)
    options = _options(spec)
    measure(prepare(spec.model, options, watch), spec.data, options, watch)
    timer.add("first", time.monotonic() - spec.born - (time.perf_counter() - watch.counted))


def _options(spec: Spec) -> Options:
    from onnx_trtcal.options import Options

    return Options(
        provider="cpu", batch_size=spec.batch, max_samples=spec.samples or None, threads=spec.threads
    )


def _import_all() -> None:
    import onnx_graphsurgeon  # noqa: F401
    import onnxruntime  # noqa: F401

    import onnx_trtcal.methods.entropy
    import onnx_trtcal.stats.bin_table  # noqa: F401
