"""Compares two models batch after batch: what is added up, and the evaluation that comes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from typing import TYPE_CHECKING, Self

import numpy as np

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.accuracy import Merit, Tally, as_classes, class_output, class_values, paired
from onnx_trtcal.evaluation.per_sample import add_batch, is_float, samples_of
from onnx_trtcal.evaluation.row_counts import Differing, SizeCheck
from onnx_trtcal.fidelity.distance import Distance
from onnx_trtcal.support.html import html_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.evaluation.metric import Meter
    from onnx_trtcal.evaluation.paired_run import PairedBatch, PairedRun

__all__ = ["Comparison", "Evaluation", "TensorError"]

CLEAN = 100.0
"""SQNR in dB above which a difference is float rounding, not quantization (INT8 alone gives 20 to 50)."""


@dataclass(frozen=True)
class TensorError:
    """How far a tensor of the quantized model is from the float model's, all quantization above it included.

    Attributes:
        name: the tensor.
        op: op type of the node that makes it; "Input" for graph inputs.
        sqnr: signal to quantization noise in dB; inf where nothing differs.
        read_sqnr: the same for what quantized layers read, behind the tensor's own Q/DQ pair; None without one.
        cosine: cosine similarity.
        max_error: largest absolute difference.
        above: the lowest SQNR among the nearest compared tensors it is computed from; inf if there are none.
        nonfinite: values left out because one of them is NaN or Inf.
    """

    name: str
    op: str
    sqnr: float
    read_sqnr: float | None
    cosine: float
    max_error: float
    above: float
    nonfinite: int

    @property
    def lost(self) -> float:
        """Loss in dB since the tensors it is computed from; 0 where those had no error yet."""
        return max(self.above - self.sqnr, 0.0) if self.above < CLEAN else 0.0


@dataclass(frozen=True, repr=False)
class Evaluation:
    """FP32 against simulated INT8. A notebook shows the tensors as a table.

    Attributes:
        samples: how many were run.
        tensors: every compared tensor, in graph order.
        outputs: the model's float outputs, measured like tensors.
        classes: the output whose largest value is the answer; None when no output has one value per class.
        agreement: share of the samples with the same answer from both; None without such an output.
        scores: `top-1`, `top-5`; empty without labels.
        metric: name -> the user's metric; empty without one.
        equal: integer output -> share of the samples for which both models give the same values.
        differing: float tensor or output -> the samples for which the two models make it in different sizes, so that
            it is not compared for them. Where no other sample is left, it is in neither `tensors` nor `outputs`.
        empty: tensors and outputs that held no value in any sample, so that there is nothing to compare.
        missing: float outputs that could be compared for no sample, for one of these two reasons.
    """

    samples: int
    tensors: tuple[TensorError, ...]
    outputs: tuple[TensorError, ...]
    classes: str | None
    agreement: float | None
    scores: Mapping[str, Merit]
    metric: Mapping[str, Merit]
    equal: Mapping[str, float]
    differing: Mapping[str, Differing] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Evaluation of {self._title}>"

    def _repr_html_(self) -> str:
        columns = ("tensor", "made by", "SQNR dB", "cosine", "max error")
        rows = [(each.name, each.op, each.sqnr, each.cosine, each.max_error) for each in self.tensors]
        return html_table(self._title, columns, rows)

    @property
    def _title(self) -> str:
        parts = [f"{each.name} {each.sqnr:.1f} dB" for each in self.outputs]
        parts += [] if self.agreement is None else [f"same top-1 {self.agreement:.2%}"]
        parts += [f"{name} {score.fp32:.2%} to {score.int8:.2%}" for name, score in self.scores.items()]
        return f"{self.samples} samples: {', '.join(parts)}"

    @property
    def first(self) -> TensorError | None:
        """The first tensor, in graph order, that quantization changes."""
        return next((tensor for tensor in self.tensors if tensor.sqnr < CLEAN), None)

    def grows(self, most: int = 5) -> list[TensorError]:
        """The tensors at which the most dB are lost at once, the worst first."""
        ranked = sorted(self.tensors, key=lambda tensor: -tensor.lost)
        return [tensor for tensor in ranked[:most] if tensor.lost > 0]


class Comparison:
    """Adds up what two models make of the same samples; a context manager that ends its threads.

    Args:
        run: the paired run of the models.
        labels: right answers, if known.
        make_meter: makes the user's metric, once for each model.
        output: the output with one value per class; empty for the first that has.
        threads: to count with; None for one per core.
    """

    def __init__(
        self,
        run: PairedRun,
        labels: Labels | None,
        make_meter: Callable[[], Meter] | None,
        output: str,
        threads: int | None,
    ) -> None:
        self.run = run
        self.labels = labels
        self.meters = (make_meter(), make_meter()) if make_meter else ()
        self.classes: str | None = output or None
        self.fixed = bool(output)
        self.tally = Tally()
        self.samples = 0
        self.distances: dict[str, Distance] = {}
        self.read: dict[str, Distance] = {}
        self.same: dict[str, int] = {}
        self.sizes = SizeCheck()
        self._pool = ThreadPoolExecutor(threads or cpu_count() or 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def take(self, both: PairedBatch) -> None:
        """Adds a batch."""
        run, batch = self.run, both.batch
        labels = self.labels.of(batch.names, both.first) if self.labels else None
        names = dict.fromkeys((*run.tensors, *run.outputs))
        floats = [name for name in names if is_float(both.fp32[name])]
        self._add_distances(both, self.sizes.alike(both, floats))
        self._count_equal(both)
        self._answers(both, labels)
        for meter, values in zip(self.meters, (both.fp32, both.int8), strict=False):
            meter.update({name: self._split(name, values, batch) for name in run.outputs}, labels)
        self.samples += batch.count

    def _add_distances(self, both: PairedBatch, floats: Sequence[str]) -> None:
        """Every distance on a thread of its own: each tensor and, where it has a pair, what is read of it."""
        wanted = [(self.distances.setdefault(name, Distance()), name, name) for name in floats]
        wanted += [
            (self.read.setdefault(name, Distance()), name, read)
            for name, read in self.run.read_as.items()
            if name in floats
        ]
        rowless = self.run.counted.rowless

        def add(item: tuple[Distance, str, str]) -> None:
            distance, name, read = item
            expected, got = both.fp32[name], both.int8[read]
            add_batch(distance, both.batch, expected, got, rowless=name in rowless)

        list(self._pool.map(add, wanted))

    def _count_equal(self, both: PairedBatch) -> None:
        for name in self.run.outputs:
            if is_float(both.fp32[name]):
                continue
            fp32, int8 = (self._split(name, values, both.batch) for values in (both.fp32, both.int8))
            equal = sum(np.array_equal(one, other) for one, other in zip(fp32, int8, strict=True))
            self.same[name] = self.same.get(name, 0) + equal

    def _answers(self, both: PairedBatch, labels: Sequence[int | str] | None) -> None:
        batch = both.batch
        if self.samples == 0 and not self.fixed:
            counted = self.run.counted.tensors
            outputs = (name for name in self.run.outputs if name not in counted)
            self.classes = class_output({name: self._split(name, both.fp32, batch)[0] for name in outputs})
        if self.classes is not None and not self.fixed and not self._are_classes(self.classes, both):
            # The first samples had one row by chance.
            self.classes, self.tally = None, Tally()
        if self.classes is None:
            if labels is not None and not self.meters:
                raise OptionError(
                    "labels were given, but no output of the model has one value per class",
                    fix="give a --metric that knows what the outputs mean",
                )
            return
        # Labels that are there for the user's own metric need not be classes.
        right = labels if self.fixed or not self.meters else None
        fp32, int8 = (self._split(self.classes, values, batch) for values in (both.fp32, both.int8))
        for index, (one, other) in enumerate(zip(fp32, int8, strict=True)):
            values = class_values(self.classes, one, other, "name another --output, or give a --metric")
            name = batch.names[index]
            label = None
            if self.labels is not None and right is not None:
                label = self.labels.number(right[index], values[0].size, name)
            self.tally.add(*values, label, name)

    def _are_classes(self, output: str, both: PairedBatch) -> bool:
        pairs = (self._split(output, values, both.batch) for values in (both.fp32, both.int8))
        return all(as_classes(sample) is not None for samples in pairs for sample in samples)

    def _split(self, name: str, values: Mapping[str, np.ndarray], batch: Batch) -> list[np.ndarray]:
        return samples_of(values[name], batch, rowless=name in self.run.counted.rowless)

    def finish(self, op_types: Mapping[str, str]) -> Evaluation:
        """The result.

        Args:
            op_types: tensor -> op type of the node that makes it.
        """
        run = self.run
        compared = {name for name, each in self.distances.items() if each.values or each.nonfinite}
        metric: dict[str, Merit] = {}
        if self.meters:
            fp32, int8 = (meter.result() for meter in self.meters)
            metric = {name: paired(fp32[name], int8[name]) for name in fp32 if name in int8}
        return Evaluation(
            samples=self.samples,
            tensors=tuple(self._error(name, op_types) for name in run.tensors if name in compared),
            outputs=tuple(self._error(name, op_types) for name in run.outputs if name in compared),
            classes=self.classes,
            agreement=self.tally.agreement if self.tally.samples else None,
            scores=self.tally.scores,
            metric=metric,
            equal={name: count / self.samples for name, count in self.same.items()},
            differing=self.sizes.differing,
            empty=tuple(name for name in self.distances if name not in compared),
            missing=tuple(name for name in run.outputs if name not in compared and name not in self.same),
        )

    def _error(self, name: str, op_types: Mapping[str, str]) -> TensorError:
        distance, read = self.distances[name], self.read.get(name)
        nearest = self.run.above.get(name, ())
        above = [self.distances[each].sqnr for each in nearest if each in self.distances]
        return TensorError(
            name=name,
            op=op_types.get(name, "Output"),
            sqnr=distance.sqnr,
            read_sqnr=read.sqnr if read is not None else None,
            cosine=distance.cosine,
            max_error=distance.max_error,
            above=min(above, default=float("inf")),
            nonfinite=distance.nonfinite,
        )
