"""Outputs that are final detections already: rows of six or seven values, or boxes, scores and classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, no_detections
from onnx_trtcal.evaluation.tasks.detect.head import (
    Scene,
    as_matrix,
    in_units,
    matrices,
    range_text,
    scaled,
    shape_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SetHead", "TableHead", "find_set", "find_table"]

_MOST_ROWS = 5000


@dataclass(frozen=True)
class Columns:
    """Where the values of a row are: the first of four coordinates, the score and the class."""

    box: int
    score: int
    label: int
    words: str


_SIX = (
    Columns(0, 4, 5, "box, score, class"),
    Columns(0, 5, 4, "box, class, score"),
    Columns(2, 1, 0, "class, score, box"),
)
_SEVEN = (Columns(1, 6, 5, "sample, box, class, score"), Columns(3, 2, 1, "sample, class, score, box"))


@dataclass(frozen=True)
class TableHead:
    """One output with a row per detection.

    Attributes:
        reason: why it was chosen.
        output: the output.
        columns: where its values are.
        shares: whether coordinates are shares of the image's sides, rather than pixels.
        sure: whether hardly anything else looks like it.
    """

    reason: str
    output: str
    columns: Columns
    shares: bool
    sure: bool
    name: str = "nms"
    final: bool = True
    classes: int | None = None

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """Its rows; those of no sample (caffe's SSD ends with one of -1) are left out."""
        rows = as_matrix(sample[self.output])
        assert rows is not None
        if rows.shape[1] == 7:
            rows = rows[rows[:, 0] >= 0]
        boxes = rows[:, self.columns.box : self.columns.box + 4]
        return Detections(
            scaled(boxes, size) if self.shares else boxes,
            rows[:, self.columns.score],
            np.round(rows[:, self.columns.label]).astype(np.int64),
        )


@dataclass(frozen=True)
class SetHead:
    """Outputs of boxes, scores and classes, as EfficientNMS, torchvision, mmdeploy and TensorFlow give them.

    Attributes:
        reason: why it was chosen.
        boxes: the output of corners, perhaps with the score as a fifth value.
        scores: the output of scores; empty where boxes hold them.
        labels: the output of class numbers.
        count: the output that says how many rows are filled; empty where all are.
        shares: whether coordinates are shares of the image's sides, rather than pixels.
        swapped: whether coordinates are y, x, y, x.
    """

    reason: str
    boxes: str
    scores: str
    labels: str
    count: str
    shares: bool
    swapped: bool
    name: str = "nms"
    final: bool = True
    sure: bool = True
    classes: int | None = None

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """Its filled rows."""
        rows = _box_rows(sample[self.boxes])
        if rows is None:
            return no_detections()
        boxes = rows[:, [1, 0, 3, 2]] if self.swapped else rows[:, :4]
        # ONNX's own NonMaxSuppression takes any two opposite corners.
        one, other = boxes[:, :2], boxes[:, 2:]
        boxes = np.concatenate([np.minimum(one, other), np.maximum(one, other)], axis=1)
        scores = sample[self.scores].reshape(-1).astype(np.float64) if self.scores else rows[:, 4]
        labels = np.round(sample[self.labels].reshape(-1).astype(np.float64)).astype(np.int64)
        most = int(sample[self.count].reshape(-1)[0]) if self.count else len(rows)
        filled = min(most, len(boxes), len(scores), len(labels))
        boxes = scaled(boxes, size) if self.shares else boxes
        return Detections(boxes[:filled], scores[:filled], labels[:filled])


def find_set(
    sample: Mapping[str, np.ndarray],
    scene: Scene,  # noqa: ARG001 (all finders are called alike)
    asked: str = "",
) -> SetHead | None:
    """Boxes, scores and classes among the outputs, by their names, shapes and types; None if they are not there.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names.
    """
    for boxes, array in sample.items():
        rows = _box_rows(array)
        if rows is None or array.dtype.kind not in "fV" or len(rows) > _MOST_ROWS or not rows[:, :4].any():
            continue
        vectors = {
            name: other.reshape(-1)
            for name, other in sample.items()
            if name != boxes and other.size == len(rows) and not _counts_rows(name, other)
        }
        labels = _labels_of(vectors, needs_scores=rows.shape[1] == 4)
        scores = [] if rows.shape[1] == 5 else [name for name in vectors if name != labels]
        if labels is None or (rows.shape[1] == 4 and len(scores) != 1):
            continue
        if rows.shape[1] == 4 and vectors[scores[0]].dtype.kind not in "fV":
            continue
        if not asked and not _ordered(rows[:, :4]) and "box" not in boxes.lower():
            continue
        count = _count_of(sample, {boxes, labels, *scores})
        shares = in_units(rows[:, :4])
        where = f"scores in {scores[0]!r}" if scores else "scores as the fifth value"
        seen = f"{boxes!r} {shape_words(array.shape)} ({range_text(rows[:, :4])})"
        reason = f"boxes in {seen}, {where}, classes in {labels!r}"
        first = scores[0] if scores else ""
        return SetHead(reason, boxes, first, labels, count, shares, "detection_boxes" in boxes.lower())
    return None


def find_table(sample: Mapping[str, np.ndarray], scene: Scene, asked: str = "") -> TableHead | None:
    """An output with six or seven values a row that are a box, a score and a class; None if there is none.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names.
    """
    for output, matrix in matrices(sample, scene).items():
        layouts = {6: _SIX, 7: _SEVEN}.get(matrix.shape[1], ())
        rows = matrix[matrix.any(axis=1)]
        if matrix.shape[1] == 7:
            rows = rows[rows[:, 0] >= 0]
        if not layouts or len(matrix) > _MOST_ROWS or not len(rows):
            continue
        columns = next((each for each in layouts if _fits(rows, each)), layouts[0] if asked else None)
        if columns is None:
            continue
        boxes = rows[:, columns.box : columns.box + 4]
        reason = (
            f"{output!r} is {shape_words(matrix.shape)}: {columns.words}; boxes {range_text(boxes)}, scores "
            f"{range_text(rows[:, columns.score])}, whole classes"
        )
        return TableHead(reason, output, columns, in_units(boxes), sure=len(rows) > 1)
    return None


def _box_rows(array: np.ndarray) -> np.ndarray | None:
    """An output as rows of four or five values; None if it is not of that form."""
    if array.ndim == 1 and array.size in (4, 5):
        array = array[None]
    matrix = as_matrix(array)
    return matrix if matrix is not None and matrix.shape[1] in (4, 5) else None


def _labels_of(vectors: Mapping[str, np.ndarray], *, needs_scores: bool) -> str | None:
    """The vector of class numbers: by its name, else the whole numbers beside others that are not."""
    named = [name for name in vectors if any(word in name.lower() for word in ("class", "label", "cls"))]
    if len(named) == 1:
        return named[0]
    whole = [name for name, values in vectors.items() if values.dtype.kind in "iu"]
    if not whole:
        whole = [
            name
            for name, values in vectors.items()
            if values.size and bool((values == np.round(values)).all())
        ]
    if len(whole) == 1 and len(vectors) == 1 + needs_scores:
        return whole[0]
    return None


def _count_of(sample: Mapping[str, np.ndarray], others: set[str]) -> str:
    """The output that holds a single number of rows."""
    for name, array in sample.items():
        if name not in others and array.size == 1 and (array.dtype.kind in "iu" or _counts_rows(name, array)):
            return name
    return ""


def _counts_rows(name: str, array: np.ndarray) -> bool:
    return array.size == 1 and any(word in name.lower() for word in ("num", "count"))


def _ordered(boxes: np.ndarray) -> bool:
    return bool((boxes[:, 2:] >= boxes[:, :2]).all())


def _fits(rows: np.ndarray, columns: Columns) -> bool:
    """Whether rows are detections with their values in these columns."""
    scores, labels = rows[:, columns.score], rows[:, columns.label]
    if not np.isfinite(rows).all() or (labels < 0).any() or (labels != np.round(labels)).any():
        return False
    if scores.min() < 0 or scores.max() > 1.001 or not scores.any():
        return False
    return _ordered(rows[:, columns.box : columns.box + 4])
