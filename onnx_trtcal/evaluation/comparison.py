"""Compares two models batch after batch: what is added up, and the evaluation that comes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from onnx_trtcal.evaluation.per_sample import add_batch, is_float, samples_of
from onnx_trtcal.evaluation.row_counts import Differing, SizeCheck
from onnx_trtcal.evaluation.tasks.outcome import outcome_of
from onnx_trtcal.evaluation.tasks.task import samples_in
from onnx_trtcal.fidelity.blocks import BlockError, worst
from onnx_trtcal.fidelity.distance import Distance
from onnx_trtcal.support.cores import cores
from onnx_trtcal.support.html import html_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.output_errors import OutputErrors
    from onnx_trtcal.evaluation.paired_run import PairedBatch, PairedRun
    from onnx_trtcal.evaluation.tasks.result import DetectionCounts, SegmentationOverlap, Target
    from onnx_trtcal.evaluation.tasks.task import Task

__all__ = ["Comparison", "Evaluation", "TensorError"]

_INT8 = "int8"
"""What tasks call the one variant that is compared."""

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
        agreement: share of the samples with the same answer from both; of detections or pixels, where the task is
            `detect` or `segment`; None without any.
        scores: `top-1` and `top-5`, `mAP 0.5:0.95` and `mAP 0.5`, or `mIoU`; empty without labels.
        metric: name -> the user's metric; empty without one.
        equal: integer output -> share of the samples for which both models give the same values.
        differing: float tensor or output -> the samples for which the two models make it in different sizes, so that
            it is not compared for them. Where no other sample is left, it is in neither `tensors` nor `outputs`.
        empty: tensors and outputs that held no value in any sample, so that there is nothing to compare.
        missing: float outputs that could be compared for no sample, for one of these two reasons.
        task: `classify`, `detect` or `segment`, whatever answers were read; `none` where none were.
        detection: what became of the detections; None for other tasks.
        segmentation: what became of the classes of pixels; None for other tasks.
        target: the figure that counts most: the metric, else the first of `scores`, else `agreement`; None without.
        blocks: the error in each block of the float outputs, relative to the block's own power; rows of outputs whose
            size depends on values are compared as a set.
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
    task: str = "none"
    detection: DetectionCounts | None = None
    segmentation: SegmentationOverlap | None = None
    target: Target | None = None
    blocks: tuple[BlockError, ...] = ()

    def __repr__(self) -> str:
        return f"<Evaluation of {self._title}>"

    def _repr_html_(self) -> str:
        columns = ("tensor", "made by", "SQNR dB", "cosine", "max error")
        rows = [(each.name, each.op, each.sqnr, each.cosine, each.max_error) for each in self.tensors]
        return html_table(self._title, columns, rows)

    @property
    def _title(self) -> str:
        parts = [f"{self.worst.block} {self.worst.sqnr:.1f} dB"] if self.worst else []
        same = "same top-1" if self.task == "classify" else "agreement"
        parts += [] if self.agreement is None else [f"{same} {self.agreement:.2%}"]
        parts += [f"{name} {score.fp32:.2%} to {score.int8:.2%}" for name, score in self.scores.items()]
        return f"{self.samples} samples: {', '.join(parts)}"

    @property
    def worst(self) -> BlockError | None:
        """The block that INT8 hurts most: the verdict. None where no output holds values."""
        return worst(self.blocks)

    @property
    def first(self) -> TensorError | None:
        """The first tensor, in graph order, that quantization changes."""
        return next((tensor for tensor in self.tensors if tensor.sqnr < CLEAN), None)

    def weakest(self, most: int = 10) -> list[TensorError]:
        """The tensors with the lowest SQNR, the lowest first; those that do not differ are left out."""
        ranked = sorted(self.tensors, key=lambda tensor: tensor.sqnr)
        return [tensor for tensor in ranked[:most] if tensor.sqnr < CLEAN]

    def grows(self, most: int = 5) -> list[TensorError]:
        """The tensors at which the most dB are lost at once, the worst first."""
        ranked = sorted(self.tensors, key=lambda tensor: -tensor.lost)
        return [tensor for tensor in ranked[:most] if tensor.lost > 0]


class Comparison:
    """Adds up what two models make of the same samples; a context manager that ends its threads.

    Args:
        run: the paired run of the models.
        tasks: read answers from the outputs of both.
        errors: compares the outputs, block by block.
        threads: to count with; None for one per core.
    """

    def __init__(
        self, run: PairedRun, tasks: Sequence[Task], errors: OutputErrors, threads: int | None
    ) -> None:
        self.run = run
        self.errors = errors
        errors.start((_INT8,))
        self.scorings = [task.start() for task in tasks]
        self.samples = 0
        self.distances: dict[str, Distance] = {}
        self.read: dict[str, Distance] = {}
        self.same: dict[str, int] = {}
        self.sizes = SizeCheck()
        self._pool = ThreadPoolExecutor(threads or cores())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def take(self, both: PairedBatch) -> None:
        """Adds a batch."""
        run, batch = self.run, both.batch
        names = dict.fromkeys((*run.tensors, *run.outputs))
        floats = [name for name in names if is_float(both.fp32[name])]
        self._add_distances(both, self.sizes.alike(both, floats))
        self._count_equal(both)
        self.errors.expect(batch, both.fp32)
        self.errors.compare(_INT8, batch, both.fp32, both.int8)
        fp32, int8 = (
            {name: self._split(name, values, batch) for name in run.outputs}
            for values in (both.fp32, both.int8)
        )
        samples = samples_in(batch, range(both.first, both.first + batch.count))
        for scoring in self.scorings:
            scoring.expect(fp32, samples)
            scoring.compare(_INT8, int8)
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

    def _split(self, name: str, values: Mapping[str, np.ndarray], batch: Batch) -> list[np.ndarray]:
        return samples_of(values[name], batch, rowless=name in self.run.counted.rowless)

    def finish(self, op_types: Mapping[str, str]) -> Evaluation:
        """The result.

        Args:
            op_types: tensor -> op type of the node that makes it.
        """
        run = self.run
        compared = {name for name, each in self.distances.items() if each.values or each.nonfinite}
        outcome = outcome_of([scoring.results() for scoring in self.scorings], _INT8)
        return Evaluation(
            samples=self.samples,
            tensors=tuple(self._error(name, op_types) for name in run.tensors if name in compared),
            outputs=tuple(self._error(name, op_types) for name in run.outputs if name in compared),
            classes=outcome.classes,
            agreement=outcome.agreement,
            scores=outcome.scores,
            metric=outcome.metric,
            equal={name: count / self.samples for name, count in self.same.items()},
            differing=self.sizes.differing,
            empty=tuple(name for name in self.distances if name not in compared),
            missing=tuple(name for name in run.outputs if name not in compared and name not in self.same),
            task=outcome.task,
            detection=outcome.detection,
            segmentation=outcome.segmentation,
            target=outcome.target,
            blocks=self.errors.of(_INT8),
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
