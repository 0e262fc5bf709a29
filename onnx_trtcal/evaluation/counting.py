"""Adds up, batch after batch, what two models make of the same samples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TYPE_CHECKING, Self

import numpy as np

from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.evaluation.accuracy import Merit, Tally, as_classes, class_output, paired
from onnx_trtcal.evaluation.outcome import Evaluation, TensorError
from onnx_trtcal.evaluation.paired_run import Step, Twins, samples_of
from onnx_trtcal.fidelity.distance import Distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.evaluation.metric import Meter

__all__ = ["Comparison", "is_float"]


class Comparison:
    """What is added up while both models run; leaving it as a context ends its threads.

    Args:
        twins: the models.
        labels: right answers, if known.
        make_meter: makes the user's metric, once for each model.
        output: the output with one value per class; empty for the first that has.
        threads: to count with; None for one per core.
    """

    def __init__(
        self,
        twins: Twins,
        labels: Labels | None,
        make_meter: Callable[[], Meter] | None,
        output: str,
        threads: int | None,
    ) -> None:
        self.twins = twins
        self.labels = labels
        self.meters = (make_meter(), make_meter()) if make_meter else ()
        self.classes: str | None = output or None
        self.fixed = bool(output)
        self.tally = Tally()
        self.samples = 0
        self.distances: dict[str, Distance] = {}
        self.read: dict[str, Distance] = {}
        self.same: dict[str, int] = {}
        self._pool = ThreadPoolExecutor(threads or cpu_count() or 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def take(self, step: Step) -> None:
        """Adds a batch."""
        twins, batch = self.twins, step.batch
        labels = self.labels.of(batch.names, step.first) if self.labels else None
        names = dict.fromkeys((*twins.tensors, *twins.outputs))
        floats = [name for name in names if is_float(step.fp32[name])]
        for name in names:
            if step.fp32[name].shape != step.int8[name].shape:
                raise ModelError(
                    f"tensor {name!r} is {step.fp32[name].shape} in FP32 and {step.int8[name].shape} in INT8",
                    where=f"sample {batch.names[0]}",
                    fix="compare a model with its own quantized form",
                )
        pairs = [(self.distances.setdefault(name, Distance()), name, name) for name in floats]
        pairs += [
            (self.read.setdefault(name, Distance()), name, read) for name, read in twins.read_as.items()
        ]
        list(self._pool.map(lambda pair: _add(pair[0], step, pair[1], pair[2]), pairs))
        self._count_equal(step)
        self._answers(step, labels)
        for meter, values in zip(self.meters, (step.fp32, step.int8), strict=False):
            meter.update({name: samples_of(values[name], batch) for name in twins.outputs}, labels)
        self.samples += batch.count

    def _count_equal(self, step: Step) -> None:
        for name in self.twins.outputs:
            if is_float(step.fp32[name]):
                continue
            both = zip(
                samples_of(step.fp32[name], step.batch), samples_of(step.int8[name], step.batch), strict=True
            )
            self.same[name] = self.same.get(name, 0) + sum(np.array_equal(one, other) for one, other in both)

    def _answers(self, step: Step, labels: Sequence[int | str] | None) -> None:
        if self.samples == 0 and not self.fixed:
            self.classes = class_output(
                {name: samples_of(step.fp32[name], step.batch)[0] for name in self.twins.outputs}
            )
        if self.classes is None:
            if labels is not None and not self.meters:
                raise OptionError(
                    "labels were given, but no output of the model has one value per class",
                    fix="give a --metric that knows what the outputs mean",
                )
            return
        rows = [samples_of(values[self.classes], step.batch) for values in (step.fp32, step.int8)]
        for index, (fp32, int8) in enumerate(zip(*rows, strict=True)):
            one, other = as_classes(fp32), as_classes(int8)
            if one is None or other is None:
                raise OptionError(
                    f"output {self.classes!r} has shape {fp32.shape} per sample, not one value per class",
                    fix="name another --output, or give a --metric",
                )
            # Labels that are there for the user's own metric need not be classes.
            counted = labels[index] if labels is not None and (self.fixed or not self.meters) else None
            self.tally.add(one, other, counted, step.batch.names[index])

    def finish(self, op_types: Mapping[str, str]) -> Evaluation:
        """The result."""
        twins = self.twins
        metric: dict[str, Merit] = {}
        if self.meters:
            fp32, int8 = (meter.result() for meter in self.meters)
            metric = {name: paired(fp32[name], int8[name]) for name in fp32 if name in int8}
        return Evaluation(
            samples=self.samples,
            tensors=tuple(self._error(name, op_types) for name in twins.tensors if name in self.distances),
            outputs=tuple(self._error(name, op_types) for name in twins.outputs if name in self.distances),
            classes=self.classes,
            agreement=self.tally.agreement if self.tally.samples else None,
            scores=self.tally.scores,
            metric=metric,
            equal={name: count / self.samples for name, count in self.same.items()},
        )

    def _error(self, name: str, op_types: Mapping[str, str]) -> TensorError:
        distance, read = self.distances[name], self.read.get(name)
        above = [self.distances[each].sqnr for each in self.twins.above.get(name, ())]
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


def _add(distance: Distance, step: Step, name: str, other: str) -> None:
    fp32, int8, batch = step.fp32[name], step.int8[other], step.batch
    by_rows = fp32.ndim > 0 and fp32.shape[0] == batch.rows
    distance.add(fp32, int8, batch.count if by_rows else None)


def is_float(array: np.ndarray) -> bool:
    """Whether an array holds floats of any width."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"
