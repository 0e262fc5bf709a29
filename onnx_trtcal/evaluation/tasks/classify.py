"""The task `classify`: the largest of one value per class, of both models; with labels top-1 and top-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.accuracy import Tally, as_classes, class_output, class_values
from onnx_trtcal.evaluation.tasks.result import TaskResult
from onnx_trtcal.evaluation.tasks.task import Samples, each_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np

    from onnx_trtcal.evaluation.label_tables import Label
    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.evaluation.tasks.task import Outputs

    Look = Callable[[Mapping[str, np.ndarray], Samples], bool]

__all__ = ["Classify"]


class Classify:
    """Compares the classes that models favour, by one of their outputs.

    Args:
        labels: right answers, if known.
        output: the output with one value per class; empty for the first that has.
        counted: outputs whose size depends on values: such are never inferred to hold classes.
        required: whether it is an error if no output has one value per class for every sample.
        other: looks at the first sample, and says whether it shows that the model is not a classifier.
    """

    name = "classify"

    def __init__(
        self,
        labels: Labels | None,
        output: str = "",
        counted: Collection[str] = (),
        *,
        required: bool = False,
        other: Look | None = None,
    ) -> None:
        self.labels = labels
        self.output: str | None = output or None
        self.fixed = bool(output)
        self.required = required
        self._counted = counted
        self._other = other
        self._inferred = self.fixed

    def start(self) -> ClassifyScoring:
        """Begins a pass over the data."""
        return ClassifyScoring(self)

    def infer(self, outputs: Outputs, samples: Samples) -> None:
        """Finds the output, once, by the first sample."""
        if self._inferred:
            return
        self._inferred = True
        first = next(each_sample(outputs))
        if self._other is not None and self._other(first, samples):
            return
        self.output = class_output({name: each for name, each in first.items() if name not in self._counted})

    def require(self) -> None:
        """Checks that classes were found where they are needed.

        Raises:
            OptionError: they were not.
        """
        if self.output is None and self.required:
            what = "labels were given" if self.labels else "the task is classify"
            raise OptionError(
                f"{what}, but no output of the model has one value per class",
                fix="give a --metric that knows what the outputs mean, or the --task that they are for",
            )


class ClassifyScoring:
    """One pass over the data.

    Args:
        task: knows the output.
    """

    def __init__(self, task: Classify) -> None:
        self._task = task
        self._samples: Samples | None = None
        self._fp32: Sequence[np.ndarray] = ()
        self._right: Sequence[Label] | None = None
        self._tallies: dict[str, Tally] = {}

    def expect(self, outputs: Outputs, samples: Samples) -> None:
        """Reads the float model's values."""
        task = self._task
        task.infer(outputs, samples)
        self._samples = samples
        self._right = task.labels.of(samples.names, samples.positions) if task.labels else None
        if task.output is not None:
            # Copies: what a batch's arrays are parts of would stay in memory until the next batch.
            self._fp32 = [sample.copy() for sample in self._checked(outputs)]
        task.require()

    def compare(self, variant: str, outputs: Outputs) -> None:
        """Counts a variant's answers."""
        task, samples = self._task, self._samples
        assert samples is not None
        tally = self._tallies.setdefault(variant, Tally())
        int8 = self._checked(outputs) if task.output is not None else ()
        if task.output is None:
            task.require()
            return
        for index, (one, other) in enumerate(zip(self._fp32, int8, strict=True)):
            values = class_values(task.output, one, other, "name another --output, or give a --metric")
            name, label = samples.names[index], None
            if task.labels is not None and self._right is not None:
                label = task.labels.number(self._right[index], values[0].size, name)
            tally.add(*values, label, name)

    def results(self) -> dict[str, TaskResult]:
        """Variant -> how often it answers as the float model does and, with labels, how often both are right."""
        return {name: self._result(tally) for name, tally in self._tallies.items()}

    def _checked(self, outputs: Outputs) -> Sequence[np.ndarray]:
        """A model's values; nothing any more where the first samples had one row by chance."""
        task = self._task
        assert task.output is not None
        found = outputs[task.output]
        if not task.fixed and any(as_classes(sample) is None for sample in found):
            task.output = None
            self._tallies = {name: Tally() for name in self._tallies}
            return ()
        return found

    def _result(self, tally: Tally) -> TaskResult:
        if self._task.output is None or not tally.samples:
            return TaskResult("classify")
        return TaskResult("classify", self._task.output, tally.agreement, tally.scores)
