"""What a detection head is, and what it is recognized by: shapes, names and ranges of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.evaluation.tasks.detect.boxes import Detections

__all__ = [
    "Head",
    "Scene",
    "as_matrix",
    "in_units",
    "is_logit",
    "matrices",
    "range_text",
    "scaled",
    "shape_words",
    "sigmoid",
    "softmax",
]

_SLACK = 0.01
"""How far outside 0 to 1 a probability may lie: what rounding to INT8 adds."""
_UNIT = 2.0
"""Coordinates up to this are shares of the image; boxes reach beyond its sides a little."""


@dataclass(frozen=True)
class Scene:
    """What is known beside the outputs.

    Attributes:
        size: height and width of the network's input.
        names: the names of the model's classes; empty where it does not say.
        ultralytics: whether the model's metadata is that of ultralytics' own exporter (YOLOv8 and later).
        output: the output to read; empty to find it.
    """

    size: tuple[int, int]
    names: Sequence[str] = ()
    ultralytics: bool = False
    output: str = ""


class Head(Protocol):
    """How outputs become detections."""

    @property
    def name(self) -> str:
        """One of `names.HEADS`."""

    @property
    def reason(self) -> str:
        """Why it was chosen."""

    @property
    def final(self) -> bool:
        """Whether duplicates are suppressed already."""

    @property
    def sure(self) -> bool:
        """Whether hardly anything but a detector has such outputs."""

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart; None when outputs do not say."""

    def decode(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        """The detections of a sample, before duplicates are suppressed.

        Args:
            sample: its outputs.
            size: height and width of the network's input.
        """


def as_matrix(array: np.ndarray) -> np.ndarray | None:
    """An output as rows and columns in float64, axes of length 1 around them removed; None if it has more axes."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[1] == 1:
        array = array[:, 0]
    return array.astype(np.float64) if array.ndim == 2 else None


def matrices(sample: Mapping[str, np.ndarray], scene: Scene) -> dict[str, np.ndarray]:
    """The float outputs that are matrices, or the one that was asked for."""
    found = {}
    for name, array in sample.items():
        matrix = as_matrix(array) if array.dtype.kind in "fV" else None
        if matrix is not None and scene.output in ("", name):
            found[name] = matrix
    return found


def is_logit(values: np.ndarray) -> bool:
    """Whether scores are not probabilities yet."""
    finite = values[np.isfinite(values)]
    return bool(finite.size) and bool(finite.min() < -_SLACK or finite.max() > 1 + _SLACK)


def in_units(boxes: np.ndarray) -> bool:
    """Whether coordinates are shares of the image's sides rather than pixels."""
    finite = boxes[np.isfinite(boxes)]
    return bool(finite.size) and float(np.abs(finite).max()) <= _UNIT


def scaled(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Coordinates (x, y, x, y) in shares of the image's sides as pixels."""
    made: np.ndarray = boxes * np.array([size[1], size[0], size[1], size[0]], np.float64)
    return made


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    made: np.ndarray = 0.5 * (1 + np.tanh(0.5 * values))
    return made


def softmax(values: np.ndarray) -> np.ndarray:
    """exp(x) over its sum, along the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    made: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return made


def range_text(values: np.ndarray) -> str:
    """The range of the values, as `-1.5 to 416`."""
    finite = values[np.isfinite(values)] if values.dtype.kind in "fV" else values
    return f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "no value"


def shape_words(shape: Sequence[int]) -> str:
    """A shape, as `84x8400`."""
    return "x".join(map(str, shape)) or "a scalar"
