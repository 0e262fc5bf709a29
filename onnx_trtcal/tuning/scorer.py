"""Runs a float model and quantized forms of it on one half of the test data, and scores the answers."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx_trtcal.counting.described import describe, metadata_of
from onnx_trtcal.counting.trial import TRIAL, Trial, settle, tolerance
from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.evaluation.asked_tasks import read_asked
from onnx_trtcal.evaluation.evaluate import comparable_pair
from onnx_trtcal.evaluation.output_errors import OutputErrors
from onnx_trtcal.evaluation.paired_run import FloatModel, FloatRuns, PairedRun
from onnx_trtcal.evaluation.per_sample import samples_of
from onnx_trtcal.evaluation.row_counts import batch_size_for
from onnx_trtcal.evaluation.tasks.outcome import outcome_of
from onnx_trtcal.evaluation.tasks.task import samples_in
from onnx_trtcal.graph.independent_rows import rows_are_independent
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.runnable import find_runnable
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.prepared import fold_model
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.tuning.halves import halves_of
from onnx_trtcal.tuning.score import Score, score_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.evaluation.paired_run import PairedBatch
    from onnx_trtcal.evaluation.tasks.task import Scoring, Task
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.support.progress import Listener
    from onnx_trtcal.tuning.options import TuneOptions

__all__ = ["Scorer"]

_INT8 = "int8"
"""What tasks call the one variant that is compared."""
_KEPT_BYTES = 256 << 20
"""Of test data and the float model's outputs, which every step is compared with; less where `--memory-limit` says so,
and no more where it allows more: what a step holds at a time comes on top."""


class Scorer:
    """The float model, the test data in two halves, and what is read from the outputs.

    Args:
        model: the float model.
        test: the test data, whatever `calibrate` takes but an iterator.
        request: labels, task, metric, and how to run.
        listener: receives what is found out of the data and the outputs.

    Attributes:
        source: the test data.
        hashes: of its samples' contents, in their order.
        halves: their positions.
        model: the float model as it was loaded.
    """

    def __init__(
        self, model: str | Path | onnx.ModelProto, test: Any, request: TuneOptions, listener: Listener
    ) -> None:
        options = request.options
        self._request = request
        self._listener = listener
        self._asked = read_asked(request)
        self._folded = fold_model(load(model, options.ort_custom_ops))
        self.model = self._folded.model
        self._provider = choose_provider(options.provider)
        source = open_source(
            test, self.model.inputs, options.preprocess, request.eval_samples, listener, options.item_axis
        )
        describe(source, self.model, options.preprocess, listener)
        self.source = self._settled(source)
        self.hashes = _hashes(self.source)
        self.halves = halves_of(self.hashes)
        if self._asked.labels:
            every = None if request.eval_samples else len(self.hashes)
            self._asked.labels.check_count(every, listener)
        # Made when the first quantized model is compared, and the same for all that follow.
        self._float_model: FloatModel | None = None
        self._errors: OutputErrors | None = None
        self._tasks: list[Task] | None = None
        self._float_runs = FloatRuns(min(options.memory_limit or _KEPT_BYTES, _KEPT_BYTES))

    def score(self, made: Quantization, positions: Sequence[int], listener: Listener) -> Score:
        """Scores a quantized model on the samples at these positions.

        Args:
            made: the quantized model.
            positions: one of the halves.
            listener: receives the progress.

        Raises:
            CalibrationError: one of its family.
        """
        options = self._request.options
        folded, graph, target = comparable_pair(
            self._folded, made.quantized.graph, made.quantized.model, options, listener
        )
        if self._float_model is None:
            self._float_model = FloatModel(folded.model, self._provider, options)
        run = PairedRun(self._float_model, graph, target)
        if self._errors is None:
            self._errors = OutputErrors(folded.model, folded.folded, run.counted)
        errors = self._errors
        errors.start((_INT8,))
        if self._tasks is None:
            counted = run.counted.tensors | errors.listed
            self._tasks = self._asked.tasks(
                metadata_of(self.model), run.outputs, self._listener, counted=counted, required=True
            )
        scorings = [task.start() for task in self._tasks]
        chosen = self.source.only(positions)
        size = batch_size_for(chosen.feeding, options.batch_size, run.counted, listener)
        with listener.progress(chosen.count, "comparing") as advance:
            known = self._float_runs if positions is self.halves.choosing else None
            for both in run.batches(chosen, size, known):
                expected = {name: both.fp32[name] for name in run.outputs}
                errors.expect(both.batch, expected)
                errors.compare(_INT8, both.batch, expected, both.int8)
                _answer(both, run, scorings, positions)
                advance(both.batch.count)
        outcome = outcome_of([scoring.results() for scoring in scorings], _INT8)
        lower = self._request.lower_is_better
        return score_of(outcome, errors.of(_INT8), len(positions), lower_is_better=lower)

    def _settled(self, source: Source) -> Source:
        """The source with what an item of it is."""
        options = self._request.options
        gpu = options.provider != "cpu"
        runnable = find_runnable(self.model, options.until, options.ort_custom_ops, gpu=gpu)
        folded = self._folded if runnable.model is self.model else fold_model(runnable.model)
        if rows_are_independent(folded.folded, folded.model.inputs, folded.model.outputs):
            return settle(source, None, self._listener)
        session = Session(
            probe(folded.folded, folded.model, folded.model.outputs),
            self._provider,
            options.threads,
            options.ort_custom_ops,
            listener=self._listener,
        )
        types = (folded.model.elem_types.get(name, 0) for name in session.outputs)
        run = partial(session.run, sample=TRIAL)
        return settle(source, Trial(session.outputs, run, tolerance(types, self._provider)), self._listener)


def _hashes(source: Source) -> tuple[str, ...]:
    with closing(batches(source, 1)) as stream:
        return tuple(digest for batch in stream for digest in batch.hashes)


def _answer(both: PairedBatch, run: PairedRun, scorings: Sequence[Scoring], positions: Sequence[int]) -> None:
    """Has the answers of a batch read; the samples of a half do not lie side by side in the data."""
    batch, rowless = both.batch, run.counted.rowless
    samples = samples_in(batch, positions[both.first : both.first + batch.count])
    fp32, int8 = (
        {name: samples_of(values[name], batch, rowless=name in rowless) for name in run.outputs}
        for values in (both.fp32, both.int8)
    )
    for scoring in scorings:
        scoring.expect(fp32, samples)
        scoring.compare(_INT8, int8)
