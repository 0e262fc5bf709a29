"""Boxes with scores and classes: overlap, suppression of duplicates, and matching of two models' boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Detections", "best_classes", "corners_of", "match", "no_detections", "overlaps", "suppress"]


@dataclass(frozen=True)
class Detections:
    """The detections of one sample.

    Attributes:
        boxes: float64, Nx4: left, top, right, bottom in pixels of the network's input.
        scores: float64, N: 0 to 1.
        classes: int64, N: numbers of classes, from 0.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: np.ndarray | Sequence[int]) -> Self:
        """Some of them.

        Args:
            chosen: their positions, or a mask.
        """
        return type(self)(self.boxes[chosen], self.scores[chosen], self.classes[chosen])

    def above(self, threshold: float) -> Self:
        """Those with a score above a threshold and without NaN or Inf."""
        finite = np.isfinite(self.boxes).all(axis=1) & np.isfinite(self.scores)
        return self.take(finite & (self.scores > threshold))


def no_detections() -> Detections:
    """Nothing found."""
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def best_classes(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    """One detection per box, of its most probable class.

    Args:
        boxes: Nx4 corners.
        scores: NxC.
    """
    classes = scores.argmax(axis=1) if scores.size else np.zeros(len(boxes), np.int64)
    return Detections(boxes, scores[np.arange(len(boxes)), classes], classes.astype(np.int64))


def corners_of(centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Nx4 corners of boxes given by Nx2 centres (x, y) and Nx2 sizes (width, height)."""
    corners: np.ndarray = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
    return corners


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of Nx4 with every box of Mx4: NxM; 0 where the union is empty."""
    left, top = (np.maximum(one[:, None, axis], other[None, :, axis]) for axis in (0, 1))
    right, bottom = (np.minimum(one[:, None, axis], other[None, :, axis]) for axis in (2, 3))
    shared = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = _areas(one)[:, None] + _areas(other)[None, :] - shared
    found: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def suppress(found: Detections, threshold: float, most: int = 300) -> Detections:
    """Greedy non-maximum suppression within each class; the best first, equal scores in their order.

    Args:
        found: the detections.
        threshold: a box that overlaps a better one of its class by more than this is dropped.
        most: how many to keep at most.
    """
    order = np.argsort(-found.scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = overlaps(found.boxes[best][None], found.boxes[rest])[0]
        order = rest[(overlap <= threshold) | (found.classes[rest] != found.classes[best])]
    return found.take(np.array(kept, np.int64))


def match(one: Detections, other: Detections, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs detections of two models one to one, those that overlap most first; only within a class.

    Args:
        one: of the first model.
        other: of the second.
        threshold: least intersection over union of a pair.

    Returns:
        Positions in both, and their intersection over union.
    """
    overlap = np.where(one.classes[:, None] == other.classes[None, :], overlaps(one.boxes, other.boxes), -1.0)
    rows, columns = np.nonzero(overlap >= threshold)
    values = overlap[rows, columns]
    pairs: list[tuple[int, int, float]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for at in np.argsort(-values, kind="stable"):
        row, column = int(rows[at]), int(columns[at])
        if row not in taken[0] and column not in taken[1]:
            taken[0].add(row)
            taken[1].add(column)
            pairs.append((row, column, float(values[at])))
    return pairs


def _areas(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return areas
