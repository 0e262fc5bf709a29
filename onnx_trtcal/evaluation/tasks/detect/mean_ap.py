"""Mean average precision as COCO defines it, by the package faster-coco-eval."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.evaluation.tasks.detect.boxes import Detections
    from onnx_trtcal.evaluation.tasks.detect.truth import Boxes

__all__ = ["mean_average_precision", "needed_package"]

INSTALL = "pip install 'onnx_trtcal[detect]' (in a clone: pip install '.[detect]')"


def needed_package() -> Any:
    """The package that computes mAP.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return importlib.import_module("faster_coco_eval")
    except ImportError as error:
        raise OptionError(
            f"mAP from labels needs the package faster-coco-eval: {error}",
            fix=f"{INSTALL}, or leave --labels out to compare with FP32 alone",
        ) from error


def mean_average_precision(right: Sequence[Boxes], found: Sequence[Detections]) -> dict[str, float]:
    """`mAP 0.5:0.95` and `mAP 0.5`: averaged over the classes that occur in the labels; at most 100 boxes an image.

    Args:
        right: what each sample shows, with the model's numbers of classes.
        found: what was found there.

    Returns:
        0 to 1; NaN where no sample shows anything.
    """
    package = needed_package()
    boxes = [box for sample, each in enumerate(right) for box in _annotations(each, sample)]
    classes = sorted({box["category_id"] for box in boxes})
    if not classes:
        return {"mAP 0.5:0.95": float("nan"), "mAP 0.5": float("nan")}
    truth = package.COCO(
        {
            "images": [{"id": sample} for sample in range(len(right))],
            "annotations": [{**box, "id": number} for number, box in enumerate(boxes, 1)],
            "categories": [{"id": number} for number in classes],
        }
    )
    results = [
        one
        for sample, each in enumerate(found)
        for one in _results(each, sample)
        if one["category_id"] in classes
    ]
    if not results:
        return {"mAP 0.5:0.95": 0.0, "mAP 0.5": 0.0}
    evaluation = package.COCOeval_faster(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    # IoU threshold x recall x class x area ("all") x boxes an image (100).
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    return {"mAP 0.5:0.95": _mean(precision), "mAP 0.5": _mean(precision[0])}


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def _annotations(right: Boxes, sample: int) -> list[Mapping[str, Any]]:
    return [
        {
            "image_id": sample,
            "category_id": int(number),
            "bbox": _sides(box),
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "iscrowd": int(crowd),
        }
        for box, number, crowd in zip(right.boxes, right.classes, right.crowd, strict=True)
    ]


def _results(found: Detections, sample: int) -> list[Mapping[str, Any]]:
    return [
        {"image_id": sample, "category_id": int(number), "bbox": _sides(box), "score": float(score)}
        for box, score, number in zip(found.boxes, found.scores, found.classes, strict=True)
    ]


def _sides(box: np.ndarray) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]
