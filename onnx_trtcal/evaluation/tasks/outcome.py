"""The results of all tasks of one variant, as evaluations and damages state them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.tasks.result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.tasks.result import DetectionCounts, SegmentationOverlap, Target

__all__ = ["Outcome", "outcome_of"]


@dataclass(frozen=True)
class Outcome:
    """What the task and the user's metric say together.

    Attributes:
        task: `classify`, `detect` or `segment`; `none` where no answer was read.
        classes: the output with one value per class; None without.
        agreement: see `TaskResult`.
        scores: those of the task, with labels.
        metric: name -> the user's metric; empty without one.
        detection: see `TaskResult`.
        segmentation: see `TaskResult`.
        target: the figure that counts most: the metric, else the task's.
    """

    task: str = "none"
    classes: str | None = None
    agreement: float | None = None
    scores: Mapping[str, Merit] = field(default_factory=dict)
    metric: Mapping[str, Merit] = field(default_factory=dict)
    detection: DetectionCounts | None = None
    segmentation: SegmentationOverlap | None = None
    target: Target | None = None


def outcome_of(results: Sequence[Mapping[str, TaskResult]], variant: str) -> Outcome:
    """The outcome of a variant.

    Args:
        results: per task, variant -> its result.
        variant: which one.
    """
    found = [each[variant] for each in results if variant in each]
    metric = next((each for each in found if each.task == "metric"), TaskResult("metric"))
    task = next((each for each in found if each.task != "metric"), TaskResult("none"))
    return Outcome(
        "none" if task.agreement is None else task.task,
        task.output if task.task == "classify" else None,
        task.agreement,
        task.scores,
        metric.scores,
        task.detection,
        task.segmentation,
        metric.target or task.target,
    )
