"""What the first four values of a YOLO row are: a decoded box, or what one is computed from and the row's cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_trtcal.evaluation.tasks.detect.boxes import corners_of
from onnx_trtcal.evaluation.tasks.detect.grid import cells, grid_of, level_cells
from onnx_trtcal.evaluation.tasks.detect.head import in_units, is_logit, range_text, scaled, sigmoid

if TYPE_CHECKING:
    from onnx_trtcal.evaluation.tasks.detect.grid import Grid, Size
    from onnx_trtcal.evaluation.tasks.detect.head import Scene

__all__ = ["ANCHORS", "Boxes", "boxes_of", "corners", "plausible"]

Boxes = Literal["pixels", "shares", "cells", "anchors", "anchor logits"]
"""Boxes in pixels, in shares of the image's sides, relative to their cells (YOLOX), or to their cells and anchors
(YOLOv5), the latter behind a sigmoid or before it."""

# Width and height of YOLOv5's anchors, stride by stride, as its model files list them.
ANCHORS: dict[tuple[int, ...], tuple[tuple[tuple[int, int], ...], ...]] = {
    (8, 16, 32): (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
    (8, 16, 32, 64): (
        ((19, 27), (44, 40), (38, 94)),
        ((96, 68), (86, 152), (180, 137)),
        ((140, 301), (303, 264), (238, 542)),
        ((436, 615), (739, 380), (925, 792)),
    ),
}

_ALIGNED = 0.8  # least correlation of decoded centres with the cells they belong to
_NEGATIVE = 0.002  # share of negative widths or heights beyond which they are logarithms
_ASKED: dict[str, Boxes] = {"yolox": "cells", "yolov5-raw": "anchors"}


def corners(values: np.ndarray, boxes: Boxes, strides: tuple[int, ...], size: Size) -> np.ndarray:
    """Nx4 corners in pixels.

    Args:
        values: the first four values of each row.
        boxes: what they are.
        strides: those of the pyramid, where the cell of a row matters.
        size: height and width of the network's input.
    """
    if boxes == "cells":
        grid = cells(strides, size)
        stride = grid[:, 2:]
        with np.errstate(over="ignore"):
            return corners_of((values[:, :2] + grid[:, :2]) * stride, np.exp(values[:, 2:]) * stride)
    if boxes in ("anchors", "anchor logits"):
        # x = (2 s - 0.5 + cell) stride, w = (2 s)² anchor, s being behind the sigmoid: models/yolo.py of YOLOv5.
        shares = sigmoid(values) if boxes == "anchor logits" else values
        grid = cells(strides, size, anchors=3)
        centers = (2 * shares[:, :2] - 0.5 + grid[:, :2]) * grid[:, 2:]
        return corners_of(centers, (2 * shares[:, 2:]) ** 2 * _anchors(strides, size))
    decoded = corners_of(values[:, :2], values[:, 2:])
    return scaled(decoded, size) if boxes == "shares" else decoded


def boxes_of(values: np.ndarray, scene: Scene, asked: str) -> tuple[Boxes, str]:
    """What the first four values are, and why.

    Args:
        values: the first four values of each row.
        scene: what is known beside the outputs.
        asked: the head that the user names; empty without.
    """
    seen = f"boxes {range_text(values)}"
    if asked in _ASKED:
        named = _ASKED[asked]
        named = "anchor logits" if named == "anchors" and is_logit(values) else named
        return named, f"{seen}, relative to cells as the head has it"
    decoded: Boxes = "shares" if in_units(values) else "pixels"
    told = f"{seen}, in {'shares of the image' if decoded == 'shares' else 'pixels'}"
    grid = grid_of(len(values), scene.size)
    if asked or grid is None or len(grid.strides) == 1 or _aligned(values, grid, scene.size):
        return decoded, told
    negative = float((values[:, 2:] < 0).mean())
    if negative <= _NEGATIVE and float(np.nanmax(np.abs(values))) >= max(scene.size) / 4:
        return decoded, told
    if grid.anchors == 1:
        return "cells", f"{seen}, relative to cells"
    if grid.strides not in ANCHORS:
        return decoded, told
    how = "logits relative to" if is_logit(values) else "relative to"
    return "anchor logits" if is_logit(values) else "anchors", f"{seen}, {how} cells and YOLOv5's anchors"


def plausible(values: np.ndarray, scores: np.ndarray, boxes: Boxes, scene: Scene) -> bool:
    """Whether values can be boxes and scores at all, for a head that nobody has named.

    Args:
        values: the first four values of each row.
        scores: the others.
        boxes: what the first four are taken for.
        scene: what is known beside the outputs.
    """
    if boxes not in ("pixels", "shares"):
        return float(np.nanmax(np.abs(values), initial=0.0)) < max(scene.size) / 4
    limit = (2.0 if boxes == "shares" else 2.0 * max(scene.size)) + 1
    sizes = values[:, 2:]
    if not values.any() or (sizes < 0).mean() > _NEGATIVE or np.abs(values).max(initial=0.0) > limit:
        return False
    # A few rows of anything could be logits.
    return not is_logit(scores) or grid_of(len(values), scene.size) is not None


def _anchors(strides: tuple[int, ...], size: Size) -> np.ndarray:
    """Width and height of each row's anchor: levels in turn, each anchor by anchor."""
    counts = [len(cells((stride,), size)) for stride in strides]
    levels = zip(ANCHORS[strides], counts, strict=True)
    return np.concatenate([np.repeat(np.array(level, np.float64), count, axis=0) for level, count in levels])


def _aligned(values: np.ndarray, grid: Grid, size: Size) -> bool:
    """Whether centres follow the cells that the rows belong to, as only decoded ones do."""
    by_anchor = cells(grid.strides, size, grid.anchors)
    by_cell = np.concatenate([level_cells(stride, size, grid.anchors) for stride in grid.strides])
    return any(
        all(_follows(values[:, axis], where[:, axis] * where[:, 2]) for axis in (0, 1))
        for where in (by_anchor, by_cell)
    )


def _follows(one: np.ndarray, other: np.ndarray) -> bool:
    known = bool(np.isfinite(one).all()) and one.std() > 0 and other.std() > 0
    return known and float(np.corrcoef(one, other)[0, 1]) >= _ALIGNED
