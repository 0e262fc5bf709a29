"""Runs many variants of one model in one session and measures the damage each does to its outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.counting.trial import TRIAL, Trial, settle, tolerance
from onnx_trtcal.errors import ModelError, listed
from onnx_trtcal.evaluation.interfaces import tensor_outputs
from onnx_trtcal.evaluation.output_errors import OutputErrors
from onnx_trtcal.evaluation.per_sample import samples_of
from onnx_trtcal.evaluation.tasks.outcome import Outcome, outcome_of
from onnx_trtcal.evaluation.tasks.task import samples_in
from onnx_trtcal.fidelity.blocks import BlockError, mean_relative, worst
from onnx_trtcal.fidelity.distance import decibels
from onnx_trtcal.graph.data_dependent import DataDependent, data_dependent
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.graph.view import link
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.switched_graph import SwitchedGraph
    from onnx_trtcal.evaluation.tasks.result import DetectionCounts, SegmentationOverlap, Target
    from onnx_trtcal.evaluation.tasks.task import Scoring, Task
    from onnx_trtcal.options import Options
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.progress import Listener

__all__ = ["Damage", "Variants", "counted_outputs"]


@dataclass(frozen=True)
class Damage:
    """What a variant does to the model's outputs.

    Attributes:
        noise_to_signal: noise power over signal power, averaged over the blocks of the float outputs that are a
            verdict, see `fidelity.blocks`.
        agreement: share of the samples with the float model's answer; of detections or pixels, where the task is
            `detect` or `segment`; None without any.
        top1: accuracy with labels; None without.
        scores: with labels, `top-1` and `top-5`, `mAP 0.5:0.95` and `mAP 0.5`, or `mIoU`.
        metric: name -> the user's metric.
        detection: what becomes of the detections; None for other tasks.
        segmentation: what becomes of the classes of pixels; None for other tasks.
        target: the figure that counts most, see `Evaluation`.
        blocks: the error in each block of the float outputs.
    """

    noise_to_signal: float
    agreement: float | None
    top1: Merit | None
    scores: Mapping[str, Merit] = field(default_factory=dict)
    metric: Mapping[str, Merit] = field(default_factory=dict)
    detection: DetectionCounts | None = None
    segmentation: SegmentationOverlap | None = None
    target: Target | None = None
    blocks: tuple[BlockError, ...] = ()

    @property
    def worst(self) -> BlockError | None:
        """The block that is the verdict; None where the outputs hold no values."""
        return worst(self.blocks)

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise ratio in dB, of the worst block of the outputs."""
        return decibels(1.0, self.noise_to_signal) if self.worst is None else self.worst.sqnr

    @property
    def harm(self) -> tuple[float, float]:
        """What to rank by: noise relative to signal in the worst block, then the mean over all of them."""
        return (self.noise_to_signal if self.worst is None else self.worst.relative, self.noise_to_signal)

    @property
    def change(self) -> float:
        """How far the target is from the float model's, 0 being no damage; a metric may move either way."""
        if self.target is None:
            return 0.0
        change = abs(self.target.merit.int8 - self.target.merit.fp32)
        return 0.0 if math.isnan(change) else change


class Variants:
    """One session that runs every variant of a switched graph.

    Args:
        switched: the graph and its switches.
        provider: runs it.
        options: threads and custom ops.
        tasks: read answers from the outputs.

    Attributes:
        samples: number of samples in the last pass.
        counted: the outputs whose size depends on values; their rows are compared as a set.
    """

    def __init__(
        self,
        switched: SwitchedGraph,
        provider: Provider,
        options: Options,
        counted: DataDependent,
        tasks: Sequence[Task] = (),
    ) -> None:
        self.switched = switched
        self.samples = 0
        self._outputs = tensor_outputs(switched.source)
        self._provider = provider
        self._tasks = tasks
        self.counted = counted
        self._errors = OutputErrors(switched.source, switched.folded, counted)
        run = dict.fromkeys((*self._outputs, *self._errors.compared))
        made = link(switched.graph).tensors
        self._session = Session(
            probe(switched.graph, switched.model, tuple(name for name in run if name in made)),
            provider,
            options.threads,
            options.ort_custom_ops,
            float_qdq=True,
        )
        self._feeds: dict[str, dict[str, np.ndarray]] = {}
        self._scorings: list[Scoring] = []

    def settle(self, source: Source, listener: Listener) -> Source:
        """The source with what an item of it is, see `counting.trial`; judged by the model's outputs."""
        names = self._session.outputs
        types = (self.switched.source.elem_types.get(name, 0) for name in names)
        off = self.switched.feeds(())

        def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return self._session.run({**feeds, **off}, TRIAL)

        return settle(source, Trial(names, run, tolerance(types, self._provider)), listener)

    def start(self, tried: Mapping[str, Iterable[str]]) -> None:
        """Begins a pass over the data.

        Args:
            tried: variant -> the nodes it runs in INT8, by their first outputs.
        """
        self.samples = 0
        self._feeds = {name: self.switched.feeds(on) for name, on in tried.items()}
        self._errors.start(tried)
        self._scorings = [task.start() for task in self._tasks]

    def take(self, batch: Batch) -> None:
        """Runs the float model and then every variant on a batch; only two sets of outputs exist at a time."""
        fp32 = self._run(batch, self.switched.feeds(()))
        self._errors.expect(batch, fp32)
        expected_answers = self._split(fp32, batch)
        samples = samples_in(batch, range(self.samples, self.samples + batch.count))
        for scoring in self._scorings:
            scoring.expect(expected_answers, samples)
        for name, feeds in self._feeds.items():
            int8 = self._run(batch, feeds)
            self._errors.compare(name, batch, fp32, int8)
            answers = self._split(int8, batch)
            for scoring in self._scorings:
                scoring.compare(name, answers)
        self.samples += batch.count

    def _split(self, values: Mapping[str, np.ndarray], batch: Batch) -> dict[str, list[np.ndarray]]:
        rowless = self.counted.rowless
        return {name: samples_of(values[name], batch, rowless=name in rowless) for name in self._outputs}

    def notes(self) -> list[str]:
        """What is to be said of the last pass: what its figures do not rest on."""
        resized = self._errors.resized
        names = [repr(name) for name in self.switched.source.outputs if name in resized]
        said = []
        if names:
            said.append(
                f"INT8 changes the size of output {listed(names)} for some samples: its rows are compared as a set, "
                "and rows without a counterpart count as lost"
            )
        if not any(each.values for name in self._feeds for each in self._errors.of(name)):
            said.append("no output holds a value for any sample: the ranking means nothing, give other data")
        return said

    def finish(self) -> dict[str, Damage]:
        """The damage that each variant of this pass does.

        Raises:
            ModelError: the model has no float output, nor one that is chosen from floats.
        """
        found = {}
        results = [scoring.results() for scoring in self._scorings]
        for name in self._feeds:
            blocks = self._errors.of(name)
            if not blocks:
                raise ModelError("the model has no float output in which damage would show")
            found[name] = _damage(blocks, outcome_of(results, name))
        return found

    def _run(self, batch: Batch, switches: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = self._session.run({**batch.feeds, **switches}, batch.names[0])
        return dict(zip(self._session.outputs, arrays, strict=True))


def counted_outputs(switched: SwitchedGraph) -> DataDependent:
    """The outputs of a switched graph whose size depends on values."""
    outputs = {*switched.source.outputs}
    found = data_dependent(switched.source, link(switched.folded))
    return DataDependent(found.tensors & outputs, found.rowless & outputs)


def _damage(blocks: tuple[BlockError, ...], outcome: Outcome) -> Damage:
    return Damage(
        mean_relative(blocks),
        outcome.agreement,
        outcome.scores.get("top-1"),
        outcome.scores,
        outcome.metric,
        outcome.detection,
        outcome.segmentation,
        outcome.target,
        blocks,
    )
