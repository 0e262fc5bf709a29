"""YOLO heads: one output with a row (or column) per box: centre, size, perhaps objectness, class scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, best_classes
from onnx_trtcal.evaluation.tasks.detect.coordinates import ANCHORS, Boxes, boxes_of, corners, plausible
from onnx_trtcal.evaluation.tasks.detect.grid import grid_of
from onnx_trtcal.evaluation.tasks.detect.head import (
    Scene,
    as_matrix,
    is_logit,
    matrices,
    range_text,
    shape_words,
    sigmoid,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from onnx_trtcal.evaluation.tasks.detect.grid import Grid

__all__ = ["RowHead", "find_rows"]

_NAMES = {"cells": "yolox", "anchors": "yolov5-raw", "anchor logits": "yolov5-raw"}
_COCO = 80  # classes of most published models


@dataclass(frozen=True)
class RowHead:
    """A YOLO head.

    Attributes:
        name: `yolov5`, `yolov5-raw`, `yolox` or `yolov8`.
        reason: why it was chosen.
        output: the output.
        rows_last: whether boxes are along the last axis.
        width: values per box that are read: 4, perhaps 1, and the classes; mask coefficients may follow.
        objectness: whether there is a fifth value that the class scores are multiplied by.
        boxes: what the first four values are.
        strides: of the pyramid, where boxes are relative to cells.
        logits: whether objectness, and whether class scores, are still to go through a sigmoid.
        sure: whether the number of rows is that of a detector.
    """

    name: str
    reason: str
    output: str
    rows_last: bool
    width: int
    objectness: bool
    boxes: Boxes
    strides: tuple[int, ...]
    logits: tuple[bool, bool]
    sure: bool
    final: bool = False

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return self.width - 4 - self.objectness

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """The best class of every row."""
        matrix = as_matrix(sample[self.output])
        assert matrix is not None
        rows = (matrix.T if self.rows_last else matrix)[:, : self.width]
        scores = rows[:, 4 + self.objectness :]
        scores = sigmoid(scores) if self.logits[1] else scores
        if self.objectness:
            objectness = rows[:, 4:5]
            scores = scores * (sigmoid(objectness) if self.logits[0] else objectness)
        return best_classes(corners(rows[:, :4], self.boxes, self.strides, size), scores)


def find_rows(sample: Mapping[str, np.ndarray], scene: Scene, asked: str = "") -> RowHead | None:
    """The YOLO head that an output is, told by its shape and values; None if it looks like none.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names; then values decide only what its name leaves open.
    """
    for output, matrix in matrices(sample, scene).items():
        head = _head_of(output, matrix, sample, scene, asked)
        if head is not None:
            return head
    return None


def _head_of(
    output: str, matrix: np.ndarray, sample: Mapping[str, np.ndarray], scene: Scene, asked: str
) -> RowHead | None:
    rows_last = _rows_last(matrix.shape, scene, asked)
    if rows_last is None or (not asked and _is_map(matrix.shape, scene.size)):
        return None
    rows = matrix.T if rows_last else matrix
    grid = grid_of(len(rows), scene.size)
    width = rows.shape[1] - _mask_coefficients(sample, output)
    boxes, why = boxes_of(rows[:, :4], scene, asked)
    if not _has_cells(boxes, grid):
        return None
    objectness, told = _objectness(width, rows_last=rows_last, boxes=boxes, scene=scene, asked=asked)
    spare = width - 4 - objectness - len(scene.names) if scene.names else 0
    if boxes not in ("pixels", "shares") and not asked and (spare or not objectness):
        return None  # distances to the sides, in bins, as YOLOv8 has them before its decoding
    if spare > 0:
        width = 4 + objectness + len(scene.names)  # key points follow
    scores = rows[:, 4:width]
    if width - 4 - objectness < 1 or (not asked and not plausible(rows[:, :4], scores, boxes, scene)):
        return None
    logits = (objectness and is_logit(scores[:, :1]), is_logit(scores[:, int(objectness) :]))
    name = _NAMES.get(boxes, "yolov5" if objectness else "yolov8")
    kind = "logits" if any(logits) else "probabilities"
    reason = (
        f"{output!r} is {shape_words(matrix.shape)}: {len(rows)} boxes{_strides_text(grid)}, {why}; {told}; "
        f"scores are {kind} ({range_text(scores)})"
    )
    return RowHead(
        name,
        reason,
        output,
        rows_last,
        width,
        objectness,
        boxes,
        grid.strides if grid else (),
        logits,
        grid is not None and len(grid.strides) > 1,
    )


def _has_cells(boxes: Boxes, grid: Grid | None) -> bool:
    """Whether the cells that boxes are relative to are known, where they are."""
    if boxes in ("pixels", "shares"):
        return True
    if grid is None:
        return False
    return grid.anchors == 1 if boxes == "cells" else grid.anchors == 3 and grid.strides in ANCHORS


def _strides_text(grid: Grid | None) -> str:
    if grid is None:
        return ""
    each = f"{grid[1]} per cell of" if grid[1] > 1 else "the cells of"
    return f", {each} strides {', '.join(map(str, grid[0]))}"


def _rows_last(shape: tuple[int, ...], scene: Scene, asked: str) -> bool | None:
    """Whether boxes are along the last axis; None when neither axis can hold what a box has."""
    least = 5 if asked == "yolov8" or not asked else 6
    first, last = (size >= least for size in shape)
    if first != last and asked:
        return first
    if not first or not last:
        return None
    on_grid = [grid_of(size, scene.size) is not None for size in shape]
    if on_grid[0] != on_grid[1]:
        return on_grid[1]
    if shape[0] == shape[1]:
        return asked == "yolov8"
    return shape[1] > shape[0]


def _mask_coefficients(sample: Mapping[str, np.ndarray], output: str) -> int:
    """How many values at the end of a box are coefficients of masks: as many as another output has prototypes."""
    others = (array for name, array in sample.items() if name != output)
    maps = [array[0] if array.ndim == 4 and len(array) == 1 else array for array in others]
    prototypes = [len(each) for each in maps if each.ndim == 3 and min(each.shape[1:]) > 8]
    return prototypes[0] if len(prototypes) == 1 and prototypes[0] == 32 else 0


def _objectness(width: int, *, rows_last: bool, boxes: Boxes, scene: Scene, asked: str) -> tuple[bool, str]:
    """Whether the fifth value is objectness, and what tells so."""
    if asked:
        return asked != "yolov8", "objectness as the head has it" if asked != "yolov8" else "no objectness"
    if scene.ultralytics:
        return False, "no objectness: the metadata is that of YOLOv8 and later"
    if scene.names and width - len(scene.names) in (4, 5):
        found = width - len(scene.names) == 5
        return found, f"{'with' if found else 'no'} objectness beside the model's {len(scene.names)} classes"
    if boxes not in ("pixels", "shares"):
        return True, "with objectness"
    if width in (5, 4 + _COCO, 5 + _COCO):
        found = width == 5 + _COCO
        return found, f"{width} values a box: {'with' if found else 'no'} objectness"
    found = not rows_last
    return found, f"{width} values a box, boxes along the {'first' if found else 'last'} axis: " + (
        "with objectness, as YOLOv5" if found else "no objectness, as YOLOv8"
    )


def _is_map(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a matrix has the aspect of the network's input: values of its pixels, rather than of boxes."""
    return shape[0] * size[1] == shape[1] * size[0]
