"""The user's own metric as a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.accuracy import paired
from onnx_trtcal.evaluation.tasks.result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_trtcal.evaluation.label_tables import Label
    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.evaluation.metric import Meter
    from onnx_trtcal.evaluation.tasks.task import Outputs, Samples

__all__ = ["UserMetric"]


class UserMetric:
    """Feeds both models' outputs to a metric.

    Args:
        make_meter: makes the metric, once for each model.
        labels: handed to it with the outputs; None for none.
    """

    name = "metric"

    def __init__(self, make_meter: Callable[[], Meter], labels: Labels | None) -> None:
        self.make_meter = make_meter
        self.labels = labels

    def start(self) -> UserMetricScoring:
        """Begins a pass over the data."""
        return UserMetricScoring(self)


class UserMetricScoring:
    """One pass over the data.

    Args:
        task: makes meters.
    """

    def __init__(self, task: UserMetric) -> None:
        self._task = task
        self._fp32 = task.make_meter()
        self._int8: dict[str, Meter] = {}
        self._right: Sequence[Label] | None = None

    def expect(self, outputs: Outputs, samples: Samples) -> None:
        """Adds the float model's outputs."""
        labels = self._task.labels
        self._right = labels.of(samples.names, samples.positions) if labels else None
        self._fp32.update(outputs, self._right)

    def compare(self, variant: str, outputs: Outputs) -> None:
        """Adds a variant's outputs."""
        if variant not in self._int8:
            self._int8[variant] = self._task.make_meter()
        self._int8[variant].update(outputs, self._right)

    def results(self) -> dict[str, TaskResult]:
        """Variant -> the metric of both models."""
        fp32 = self._fp32.result()
        found = {}
        for variant, meter in self._int8.items():
            int8 = meter.result()
            scores = {name: paired(fp32[name], int8[name]) for name in fp32 if name in int8}
            found[variant] = TaskResult("metric", scores=scores)
        return found
