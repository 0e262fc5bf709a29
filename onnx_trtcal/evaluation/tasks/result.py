"""What a task says of two models that ran on the same samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.accuracy import Merit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DetectionCounts", "SegmentationOverlap", "Target", "TaskResult"]


@dataclass(frozen=True)
class Target:
    """The one figure that says how well INT8 does, higher being better unless it is a metric of the user's.

    Attributes:
        name: what it is called, such as `top-1`, `mAP 0.5:0.95` or `agreement`.
        merit: of both models; without labels, FP32 agrees with itself: 1.
    """

    name: str
    merit: Merit


@dataclass(frozen=True)
class DetectionCounts:
    """Detections of two models on the same samples, matched one to one.

    Attributes:
        head: how the outputs are decoded, one of `names.HEADS`; empty when no output held a row.
        reason: why that head was taken.
        score_threshold: the least score of a detection that is counted.
        iou: the least intersection over union of two that match; their classes are equal.
        nms_iou: above it, the weaker of two overlapping boxes of a class was suppressed; None behind the model's NMS.
        fp32: detections of the float model.
        int8: detections of the quantized model.
        kept: pairs that match.
        lost: detections of the float model that the quantized one does not make.
        invented: detections of the quantized model that the float one does not make.
        mean_iou: of the pairs; None without any.
    """

    head: str
    reason: str
    score_threshold: float
    iou: float
    nms_iou: float | None
    fp32: int
    int8: int
    kept: int
    lost: int
    invented: int
    mean_iou: float | None

    @property
    def agreement(self) -> float:
        """Share of both models' detections that have a partner in the other's: 2 kept / (fp32 + int8)."""
        return 2 * self.kept / (self.fp32 + self.int8) if self.fp32 + self.int8 else 1.0


@dataclass(frozen=True)
class SegmentationOverlap:
    """The classes that two models give the same pixels.

    Attributes:
        output: the output that holds them.
        classes: how many the output tells apart.
        pixels: how many were compared.
        agreement: share of them with the same class from both.
        mean_iou: intersection over union of both models' pixels of a class, averaged over the classes that either
            gives any pixel.
    """

    output: str
    classes: int
    pixels: int
    agreement: float
    mean_iou: float


@dataclass(frozen=True)
class TaskResult:
    """What comes of a task.

    Attributes:
        task: `classify`, `detect`, `segment` or `metric`.
        output: the output that was read, where it is a single one.
        agreement: how far both models agree, 0 to 1; None where that is not asked.
        scores: name -> how right both are, by labels or by the user's metric; the one that counts most first.
        detection: details of `detect`.
        segmentation: details of `segment`.
    """

    task: str
    output: str | None = None
    agreement: float | None = None
    scores: Mapping[str, Merit] = field(default_factory=dict)
    detection: DetectionCounts | None = None
    segmentation: SegmentationOverlap | None = None

    @property
    def target(self) -> Target | None:
        """The first score, else the agreement; None without either."""
        for name, merit in self.scores.items():
            return Target(name, merit)
        return None if self.agreement is None else Target("agreement", Merit(1.0, self.agreement, None))
