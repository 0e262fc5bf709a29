"""The class of every pixel, read from an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MapReader", "find_maps"]

Kind = Literal["channels first", "channels last", "classes", "probability", "logit"]

_MOST_CLASSES = 1000


@dataclass(frozen=True)
class MapReader:
    """How an output holds the class of every pixel.

    Attributes:
        output: the output.
        kind: scores per class along the first or the last axis, class numbers, or one score that is a probability or a
            logit of class 1 against class 0.
        classes: how many classes there are; None where only numbers are given.
    """

    output: str
    kind: Kind
    classes: int | None

    def read(self, sample: Mapping[str, np.ndarray]) -> np.ndarray:
        """The classes of one sample's pixels: int64, HxW."""
        array = _squeezed(sample[self.output])
        if self.kind in ("channels first", "channels last"):
            while array.ndim > 3:
                array = array[0]
            axis = 0 if self.kind == "channels first" else 2
            classes: np.ndarray = array.argmax(axis=axis).astype(np.int64)
            return classes
        plane = array.reshape(array.shape[-2:])
        if self.kind == "classes":
            return np.maximum(np.round(plane.astype(np.float64)), 0).astype(np.int64)
        return (plane > (0.5 if self.kind == "probability" else 0.0)).astype(np.int64)

    def words(self) -> str:
        """What is read, for a line."""
        how = {
            "channels first": f"the largest of {self.classes} scores along the first axis",
            "channels last": f"the largest of {self.classes} scores along the last axis",
            "classes": "class numbers",
            "probability": "one probability, above 0.5 is class 1",
            "logit": "one logit, above 0 is class 1",
        }[self.kind]
        return f"output {self.output!r}: {how}"


def find_maps(sample: Mapping[str, np.ndarray], size: tuple[int, int] | None, output: str = "") -> MapReader:
    """The output that classifies pixels, by its shape and values.

    Args:
        sample: the outputs of one sample.
        size: height and width of the network's input, if it is an image.
        output: the output to read; empty for the first that fits.

    Raises:
        OptionError: there is none; the message says which shapes were seen.
    """
    for name, array in sample.items():
        if output in ("", name):
            reader = _reader_of(name, array, size)
            if reader is not None:
                return reader
    seen = ", ".join(
        f"{name!r} {'x'.join(map(str, array.shape)) or 'a scalar'}" for name, array in sample.items()
    )
    raise OptionError(
        f"no output classifies pixels: of one sample they are {seen}",
        fix="wanted are classes x height x width, height x width x classes, or height x width; name another --output, "
        "or give a --metric FILE.py:NAME",
    )


def _reader_of(name: str, array: np.ndarray, size: tuple[int, int] | None) -> MapReader | None:
    array = _squeezed(array)
    floats = array.dtype.kind in "fV"
    if array.ndim == 2 and min(array.shape) > 1:
        return _plane(name, array) if size is None or _alike(array.shape, size) else None
    if array.ndim != 3 or not floats:
        return None
    first = _fits(array.shape[1:], size)
    last = _fits(array.shape[:2], size)
    if first and last:
        first = array.shape[0] <= array.shape[2]
    classes = array.shape[0] if first else array.shape[2]
    if not (first or last) or classes > _MOST_CLASSES:
        return None
    return MapReader(name, "channels first" if first else "channels last", classes)


def _plane(name: str, array: np.ndarray) -> MapReader:
    """One value a pixel: numbers of classes, or the score of a single class."""
    values = array.astype(np.float64)
    numbers = values.min() >= 0 and values.max() > 1 and bool((values == np.round(values)).all())
    if array.dtype.kind in "iub" or numbers:
        return MapReader(name, "classes", None)
    probability = values.min() >= 0 and values.max() <= 1.001
    return MapReader(name, "probability" if probability else "logit", 2)


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Without leading axes of length 1, and a single trailing channel."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _fits(plane: tuple[int, ...], size: tuple[int, int] | None) -> bool:
    return min(plane) > 1 and (size is None or _alike(plane, size))


def _alike(plane: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a plane has the aspect of the network's input, up to the rounding of its sides."""
    height, width = plane
    return abs(height / size[0] - width / size[1]) <= 1.0 / min(size) + 0.02 * height / size[0]
