"""Heads with one output of boxes and one of class scores: SSD and its kin, DETR, YOLO-NAS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, best_classes, corners_of
from onnx_trtcal.evaluation.tasks.detect.head import (
    Scene,
    as_matrix,
    in_units,
    is_logit,
    range_text,
    scaled,
    shape_words,
    sigmoid,
    softmax,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["PairHead", "find_pair"]

Background = Literal["first", "last", "none"]

_ORDERED = 0.99  # share of boxes whose corners are in order, where these are corners
_MANY = 8
_BACKGROUNDS: dict[str, Background] = {"ssd": "first", "ssd-no-background": "none", "detr": "last"}
_NAMES = {background: name for name, background in _BACKGROUNDS.items()}


@dataclass(frozen=True)
class PairHead:
    """Boxes and scores apart.

    Attributes:
        name: `ssd`, `ssd-no-background` or `detr`.
        reason: why it was chosen.
        boxes: the output with four coordinates a box.
        scores: the output with the class scores.
        background: which of these is the background's.
        activation: what makes probabilities of the scores.
        corners: whether boxes are corners, rather than centres and sizes.
        shares: whether coordinates are shares of the image's sides, rather than pixels.
        classes: how many there are, without the background.
        sure: whether there are enough boxes to tell them from other values.
    """

    name: str
    reason: str
    boxes: str
    scores: str
    background: Background
    activation: Literal["none", "sigmoid", "softmax"]
    corners: bool
    shares: bool
    classes: int
    sure: bool
    final: bool = False

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """The best class of every box, the background aside."""
        pair = _oriented(sample[self.boxes], sample[self.scores])
        assert pair is not None
        boxes, scores = pair
        if self.activation == "softmax":
            scores = softmax(scores)
        elif self.activation == "sigmoid":
            scores = sigmoid(scores)
        if self.background != "none":
            scores = scores[:, 1:] if self.background == "first" else scores[:, :-1]
        if not self.corners:
            boxes = corners_of(boxes[:, :2], boxes[:, 2:])
        return best_classes(scaled(boxes, size) if self.shares else boxes, scores)


def find_pair(sample: Mapping[str, np.ndarray], scene: Scene, asked: str = "") -> PairHead | None:
    """The pair of outputs that are boxes and scores; None if no two are.

    Args:
        sample: the outputs of one sample.
        scene: what is known beside them.
        asked: the head that the user names, which says what the background is.
    """
    for boxes, scores in _candidates(sample):
        pair = _oriented(sample[boxes], sample[scores])
        if pair is None or not len(pair[0]):
            continue
        kind = _box_kind(pair[0], scene)
        if kind is None and not asked:
            continue
        corners, shares = kind or (True, in_units(pair[0]))
        background, activation, why = _score_kind(pair[1], _BACKGROUNDS.get(asked))
        classes = pair[1].shape[1] - (background != "none")
        if classes < 1:
            continue
        reason = (
            f"{boxes!r} {shape_words(pair[0].shape)} holds {'corners' if corners else 'centres and sizes'} in "
            f"{'shares of the image' if shares else 'pixels'} ({range_text(pair[0])}), {scores!r} "
            f"{shape_words(pair[1].shape)} scores ({range_text(pair[1])}): {why}"
        )
        name = _NAMES[background]
        sure = len(pair[0]) >= _MANY
        return PairHead(name, reason, boxes, scores, background, activation, corners, shares, classes, sure)
    return None


def _candidates(sample: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Pairs of float outputs, those first whose names say what they are."""
    floats = [name for name, array in sample.items() if array.dtype.kind in "fV"]
    pairs = [(one, other) for one in floats for other in floats if one != other]

    def unlikely(pair: tuple[str, str]) -> bool:
        return not any(word in pair[0].lower() for word in ("box", "loc", "reg"))

    yield from sorted(pairs, key=unlikely)


def _oriented(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Nx4 boxes and NxC scores, of outputs in either orientation; None if they are not of that form."""
    box, score = as_matrix(boxes), as_matrix(scores)
    if score is None and scores.ndim == 1:
        score = scores.astype(np.float64)[:, None]
    if box is None or score is None:
        return None
    if box.shape[1] != 4 and box.shape[0] == 4:
        box = box.T
    if score.shape[0] != box.shape[0] and score.shape[1] == box.shape[0]:
        score = score.T
    return (box, score) if box.shape[1] == 4 and score.shape[0] == box.shape[0] else None


def _box_kind(boxes: np.ndarray, scene: Scene) -> tuple[bool, bool] | None:
    """Whether boxes are corners and whether they are shares of the image; None if they are not in the image at all."""
    shares = in_units(boxes)
    corners = float((boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean()) >= _ORDERED
    if not corners and float((boxes[:, 2:] > 0).all(axis=1).mean()) < _ORDERED:
        return None
    limit = 2.0 if shares else 2.0 * max(scene.size)
    return (corners, shares) if float(np.abs(boxes).max()) <= limit else None


def _score_kind(
    scores: np.ndarray, asked: Background | None
) -> tuple[Background, Literal["none", "sigmoid", "softmax"], str]:
    """Where the background is, what makes probabilities of scores, and what tells so."""
    logits = is_logit(scores)
    if asked is not None:
        by_name: Literal["sigmoid", "softmax"] = "sigmoid" if asked == "none" else "softmax"
        return asked, by_name if logits else "none", f"background {asked} as the head has it"
    if scores.shape[1] == 1:
        return "none", "sigmoid" if logits else "none", "one class"
    means = scores.mean(axis=0)
    place: Background | None = {0: "first", scores.shape[1] - 1: "last"}.get(int(means.argmax()))  # type: ignore[assignment]
    if logits:
        # Scores for a sigmoid are negative nearly everywhere, those of the background for a softmax are not.
        if place is not None and float(means.max()) > 0:
            return place, "softmax", f"logits, of which the {place} one, the background, is large"
        return "none", "sigmoid", "logits without a background"
    if np.allclose(scores.sum(axis=1), 1, atol=0.05):
        place = place or "first"
        return place, "none", f"they add up to 1, the {place} one is the background"
    return "none", "none", "they do not add up to 1: no background"
