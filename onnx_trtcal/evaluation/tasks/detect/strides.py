"""Heads with outputs of their own for each stride: SCRFD and YuNet."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, best_classes, corners_of
from onnx_trtcal.evaluation.tasks.detect.grid import level_cells
from onnx_trtcal.evaluation.tasks.detect.head import Scene, as_matrix, is_logit, shape_words, sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Level", "StrideHead", "find_strides"]

_STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHORS = (1, 2, 3)


@dataclass(frozen=True)
class Level:
    """The outputs of one stride.

    Attributes:
        stride: pixels between cells.
        anchors: boxes per cell.
        boxes: the output with four values a box.
        scores: the output with the class scores.
        objectness: the output that these are multiplied by, as a geometric mean; empty without.
    """

    stride: int
    anchors: int
    boxes: str
    scores: str
    objectness: str = ""


@dataclass(frozen=True)
class StrideHead:
    """One level after the other.

    Attributes:
        name: `scrfd`, boxes being distances from a cell's corner to the sides of a box, in strides; or `yunet`, centres
            relative to the cell and logarithms of sizes, in strides.
        reason: why it was chosen.
        levels: by stride.
        logits: whether scores are still to go through a sigmoid.
        classes: how many classes it tells apart.
    """

    name: str
    reason: str
    levels: tuple[Level, ...]
    logits: bool
    classes: int
    sure: bool = True
    final: bool = False

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """The best class of every box of every level."""
        found = [self._level(level, sample, size) for level in self.levels]
        return Detections(
            np.concatenate([each.boxes for each in found]),
            np.concatenate([each.scores for each in found]),
            np.concatenate([each.classes for each in found]),
        )

    def _level(self, level: Level, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        def rows(output: str) -> np.ndarray:
            matrix = _rows_of(sample[output], level.stride, level.anchors, size)
            assert matrix is not None
            return matrix

        scores = sigmoid(rows(level.scores)) if self.logits else rows(level.scores)
        if level.objectness:
            objectness = sigmoid(rows(level.objectness)) if self.logits else rows(level.objectness)
            scores = np.sqrt(np.clip(scores, 0, 1) * np.clip(objectness, 0, 1))
        values = rows(level.boxes) * 1.0
        grid = level_cells(level.stride, size, level.anchors)
        if self.name == "yunet":
            with np.errstate(over="ignore"):
                sizes = np.exp(values[:, 2:]) * level.stride
            return best_classes(corners_of((values[:, :2] + grid[:, :2]) * level.stride, sizes), scores)
        centers = grid[:, :2] * level.stride
        sides = values * level.stride
        return best_classes(np.concatenate([centers - sides[:, :2], centers + sides[:, 2:]], axis=1), scores)


def find_strides(sample: Mapping[str, np.ndarray], scene: Scene, asked: str = "") -> StrideHead | None:
    """The outputs that are levels of one head; None if they are not.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names.
    """
    for anchors in _ANCHORS:
        levels = [
            level
            for stride in _STRIDES
            if stride <= min(scene.size) and (level := _level_of(sample, stride, anchors, scene)) is not None
        ]
        if len(levels) < 2 and not (levels and asked):
            continue
        head = _head_of(sample, tuple(levels), scene, asked)
        if head is not None:
            return head
    return None


def _level_of(sample: Mapping[str, np.ndarray], stride: int, anchors: int, scene: Scene) -> Level | None:
    """The outputs of a stride: those with as many rows as it has boxes; key points and others are ignored."""
    columns: dict[str, int] = {}
    for name, array in sample.items():
        matrix = _rows_of(array, stride, anchors, scene.size) if array.dtype.kind in "fV" else None
        if matrix is not None:
            columns[name] = matrix.shape[1]
    fours = [name for name, count in columns.items() if count == 4]
    ones = [name for name, count in columns.items() if count == 1]
    others = [name for name, count in columns.items() if count not in (1, 4, 10)]
    if len(fours) != 1 or not ones + others:
        return None
    if len(ones) == 2:
        objectness = [name for name in ones if "obj" in name.lower()]
        second = objectness[0] if len(objectness) == 1 else ones[1]
        first = next(name for name in ones if name != second)
        return Level(stride, anchors, fours[0], first, second)
    if others and len(ones) == 1:
        return Level(stride, anchors, fours[0], others[0], ones[0])
    return Level(stride, anchors, fours[0], (ones or others)[0])


def _head_of(
    sample: Mapping[str, np.ndarray], levels: tuple[Level, ...], scene: Scene, asked: str
) -> StrideHead | None:
    def rows(level: Level, output: str) -> np.ndarray:
        matrix = _rows_of(sample[output], level.stride, level.anchors, scene.size)
        assert matrix is not None
        return matrix

    widths = {rows(level, level.scores).shape[1] for level in levels}
    if len(widths) != 1 or len({bool(level.objectness) for level in levels}) != 1:
        return None
    scores = np.concatenate([rows(level, level.scores).reshape(-1) for level in levels])
    name = asked or ("yunet" if levels[0].objectness else "scrfd")
    each = f"{levels[0].anchors} boxes per cell" if levels[0].anchors > 1 else "one box per cell"
    seen = ", ".join(
        f"{level.stride}: {level.boxes!r} {shape_words(sample[level.boxes].shape)} and {level.scores!r} "
        f"{shape_words(sample[level.scores].shape)}"
        for level in levels
    )
    objectness = " and objectness" if levels[0].objectness else ""
    reason = f"boxes and scores{objectness} per stride, {each} ({seen})"
    return StrideHead(name, reason, levels, is_logit(scores), widths.pop())


def _rows_of(array: np.ndarray, stride: int, anchors: int, size: tuple[int, int]) -> np.ndarray | None:
    """An output as the rows of a level, of maps or rows; None if it is not of that level."""
    height, width = ceil(size[0] / stride), ceil(size[1] / stride)
    rows = height * width * anchors
    while array.ndim > 3 and len(array) == 1:
        array = array[0]
    if (
        array.ndim == 3
        and array.shape[1:] == (height, width)
        and len(array) % anchors == 0
        and len(array) > 1
    ):
        maps = array.reshape(anchors, -1, height, width).transpose(2, 3, 0, 1)
        return maps.reshape(rows, -1).astype(np.float64)
    if array.ndim == 1 and len(array) == rows:
        return array.astype(np.float64)[:, None]
    matrix = as_matrix(array) if array.ndim == 2 or array.shape[:1] == (1,) else None
    return matrix if matrix is not None and len(matrix) == rows else None
