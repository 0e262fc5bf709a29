"""What the answers of both models say, in words: classes, detections, classes of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.tasks.result import DetectionCounts
    from onnx_trtcal.evaluation.variants import Damage

__all__ = ["damage_cells", "fp32_cells", "task_lines"]


def task_lines(found: Evaluation) -> list[str]:
    """The lines that say how far both models give the same answers; none where none were read."""
    lines = []
    if found.detection is not None:
        lines += _detection_lines(found.detection)
    elif found.segmentation is not None:
        each = found.segmentation
        lines.append(
            f"same class from both, by {each.output!r}: {each.agreement:.2%} of {each.pixels:,} pixels; mean IoU of "
            f"the classes {each.mean_iou:.4f}"
        )
    elif found.agreement is not None:
        lines.append(f"same top-1 from both, by {found.classes!r}: {found.agreement:.2%}")
    return lines


def damage_cells(damage: Damage) -> dict[str, str]:
    """Column -> what a damage says there; no column for what was not asked."""
    cells = {}
    if damage.detection is not None:
        counts = damage.detection
        cells = {"kept": str(counts.kept), "lost": str(counts.lost), "invented": str(counts.invented)}
    elif damage.segmentation is not None:
        cells = {"same pixels": f"{damage.segmentation.agreement:.2%}"}
    elif damage.agreement is not None:
        cells = {"same answer": f"{damage.agreement:.2%}"}
    cells |= {name: f"{merit.int8:.2%}" for name, merit in damage.scores.items()}
    return cells | {name: f"{merit.int8:.6g}" for name, merit in damage.metric.items()}


def fp32_cells(damage: Damage) -> dict[str, str]:
    """The same columns for the float model."""
    cells = {}
    if damage.detection is not None:
        cells = {"kept": str(damage.detection.fp32), "lost": "0", "invented": "0"}
    cells |= {name: f"{merit.fp32:.2%}" for name, merit in damage.scores.items()}
    return cells | {name: f"{merit.fp32:.6g}" for name, merit in damage.metric.items()}


def _detection_lines(found: DetectionCounts) -> list[str]:
    nms = "behind the model's own NMS" if found.nms_iou is None else f"NMS at IoU {found.nms_iou:g}"
    if not found.head:
        return ["detections: none, no output held a row in any sample"]
    mean = "" if found.mean_iou is None else f"; mean IoU of the kept {found.mean_iou:.3f}"
    counts = f"{found.kept} kept, {found.lost} lost, {found.invented} invented"
    rules = f"score above {found.score_threshold:g}, {nms}; kept: same class, IoU of at least {found.iou:g}"
    return [
        f"detections: {found.fp32} in FP32, {found.int8} in INT8: {counts}{mean}; agreement {found.agreement:.2%}",
        f"  (head {found.head}, {rules})",
    ]
