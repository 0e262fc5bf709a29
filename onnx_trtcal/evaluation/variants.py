"""Runs many variants of one model in one session and measures the damage each does to its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.collect.trial import TRIAL, Trial, settle, tolerance
from onnx_trtcal.errors import ModelError, OptionError, did_you_mean, listed
from onnx_trtcal.evaluation.accuracy import Merit, Tally, as_classes, class_output, class_values
from onnx_trtcal.evaluation.per_sample import add_batch, is_float, samples_of
from onnx_trtcal.fidelity.distance import Distance, decibels
from onnx_trtcal.graph.data_dependent import DataDependent, data_dependent
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.graph.view import link
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.evaluation.switched_graph import SwitchedGraph
    from onnx_trtcal.options import Options
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.progress import Listener

__all__ = ["Damage", "Variants"]


@dataclass(frozen=True)
class Damage:
    """What a variant does to the model's outputs.

    Attributes:
        noise_to_signal: noise power over signal power, averaged over the float outputs.
        agreement: share of the samples with the float model's answer; None if no output has classes.
        top1: accuracy with labels; None without.
    """

    noise_to_signal: float
    agreement: float | None
    top1: Merit | None

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise ratio of the outputs in dB."""
        return decibels(1.0, self.noise_to_signal)


class Variants:
    """One session that runs every variant of a switched graph.

    Args:
        switched: the graph and its switches.
        provider: runs it.
        options: threads and custom ops.
        labels: right answers, if known.
        output: the output with one value per class; empty for the first one.

    Attributes:
        samples: number of samples in the last pass.
        fp32_accuracy: top-1 of the float model in the last pass; None without labels.
        counted: the outputs whose size depends on values. Where a variant changes it, the whole output of that sample
            counts as lost.
        resized: those outputs of which a variant changed the size for a sample, in the last pass.

    Raises:
        OptionError: the model has no such output.
    """

    def __init__(
        self,
        switched: SwitchedGraph,
        provider: Provider,
        options: Options,
        labels: Labels | None = None,
        output: str = "",
    ) -> None:
        self.switched = switched
        self.samples = 0
        self.fp32_accuracy: float | None = None
        self._labels = labels
        outputs = switched.source.outputs
        if output and output not in outputs:
            raise OptionError(
                f"the model has no output {output!r}", fix=did_you_mean(output, outputs) or ", ".join(outputs)
            )
        self._classes: str | None = output or None
        self._provider = provider
        self._fixed = bool(output)
        self._inferred = False
        found = data_dependent(switched.source, link(switched.folded))
        self.counted = DataDependent(found.tensors & {*outputs}, found.rowless & {*outputs})
        self.resized: set[str] = set()
        self._session = Session(
            probe(switched.graph, switched.model, outputs),
            provider,
            options.threads,
            options.ort_custom_ops,
            float_qdq=True,
        )
        self._feeds: dict[str, dict[str, np.ndarray]] = {}
        self._distances: dict[str, dict[str, Distance]] = {}
        self._tallies: dict[str, Tally] = {}

    def settle(self, source: Source, listener: Listener) -> Source:
        """The source with what an item of it is, see `collect.trial`; judged by the model's outputs."""
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
        self.resized.clear()
        self._feeds = {name: self.switched.feeds(on) for name, on in tried.items()}
        self._distances = {name: {} for name in tried}
        self._tallies = {name: Tally() for name in tried}

    def take(self, batch: Batch) -> None:
        """Runs the float model and then every variant on a batch; only two sets of outputs exist at a time."""
        fp32 = self._run(batch, self.switched.feeds(()))
        if not self._fixed and not self._inferred:
            self._inferred = True
            outputs = (name for name in fp32 if name not in self.counted.tensors)
            self._classes = class_output({name: self._split(name, fp32, batch)[0] for name in outputs})
        labels = self._labels.of(batch.names, self.samples) if self._labels else [None] * batch.count
        for name, feeds in self._feeds.items():
            int8 = self._run(batch, feeds)
            for output, expected in fp32.items():
                if is_float(expected):
                    self._measure(name, output, batch, expected, int8[output])
            self._answer(name, batch, labels, (fp32, int8))
        self.samples += batch.count

    def _measure(
        self, variant: str, output: str, batch: Batch, expected: np.ndarray, got: np.ndarray
    ) -> None:
        distance = self._distances[variant].setdefault(output, Distance())
        if expected.shape == got.shape:
            add_batch(distance, batch, expected, got, rowless=output in self.counted.rowless)
            return
        self.resized.add(output)
        present = expected if expected.size else got
        nothing = np.zeros_like(present)
        distance.add(*((expected, nothing) if expected.size else (nothing, got)))

    def _answer(
        self,
        variant: str,
        batch: Batch,
        labels: Sequence[int | str | None],
        both: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    ) -> None:
        if self._classes is None:
            return
        fp32, int8 = (self._split(self._classes, each, batch) for each in both)
        if not self._fixed and any(as_classes(sample) is None for sample in (*fp32, *int8)):
            # The first samples had one row by chance.
            self._classes = None
            self._tallies = {name: Tally() for name in self._tallies}
            return
        for one, other, label, sample in zip(fp32, int8, labels, batch.names, strict=True):
            values = class_values(self._classes, one, other, "name another --output")
            right = label
            if self._labels is not None and label is not None:
                right = self._labels.number(label, values[0].size, sample)
            self._tallies[variant].add(*values, right, sample)

    def _split(self, name: str, values: Mapping[str, np.ndarray], batch: Batch) -> list[np.ndarray]:
        return samples_of(values[name], batch, rowless=name in self.counted.rowless)

    def notes(self) -> list[str]:
        """What is to be said of the last pass: what its figures do not rest on."""
        names = [repr(name) for name in self.switched.source.outputs if name in self.resized]
        said = []
        if names:
            said.append(
                f"INT8 changes the size of output {listed(names)} for some samples: all of it counts as lost there"
            )
        if not any(
            each.values or each.nonfinite for found in self._distances.values() for each in found.values()
        ):
            said.append("no output holds a value for any sample: the ranking means nothing, give other data")
        if self._labels is not None and self._classes is None:
            said.append("the labels play no part: no output has one value per class for every sample")
        return said

    def finish(self) -> dict[str, Damage]:
        """The damage that each variant of this pass does.

        Raises:
            ModelError: the model has no float output.
        """
        found = {}
        for name, distances in self._distances.items():
            if not distances:
                raise ModelError("the model has no float output in which damage would show")
            ratios = [
                each.noise / each.signal if each.signal else float(each.noise > 0)
                for each in distances.values()
            ]
            tally = self._tallies[name]
            top1 = tally.scores.get("top-1")
            if top1 is not None:
                self.fp32_accuracy = top1.fp32
            agreement = tally.agreement if tally.samples else None
            found[name] = Damage(float(np.mean(ratios)), agreement, top1)
        return found

    def _run(self, batch: Batch, switches: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = self._session.run({**batch.feeds, **switches}, batch.names[0])
        return dict(zip(self._session.outputs, arrays, strict=True))
