"""Top-1 and top-5 of two models on the same samples, and the standard error of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Merit", "Tally", "as_classes", "class_output", "class_values", "paired"]

_WIDE = 5


@dataclass(frozen=True)
class Merit:
    """A figure of merit of both models; for accuracies the share of samples that are right (0 to 1).

    Attributes:
        fp32: of the float model.
        int8: of the quantized model.
        error: standard error of `int8 - fp32`, from the differences sample by sample: what both got right or
            both got wrong does not add to it. None where there is no value per sample.
    """

    fp32: float
    int8: float
    error: float | None


def paired(fp32: np.ndarray, int8: np.ndarray) -> Merit:
    """The means of two arrays with one value per sample each, or two numbers, compared.

    The standard error is the standard deviation of the differences over the square root of their number.
    """
    if fp32.ndim == 0 or fp32.shape != int8.shape:
        return Merit(float(fp32.mean()), float(int8.mean()), None)
    difference = int8 - fp32
    error = float(np.sqrt(np.mean((difference - difference.mean()) ** 2) / difference.size))
    return Merit(float(fp32.mean()), float(int8.mean()), error)


def class_values(output: str, fp32: np.ndarray, int8: np.ndarray, fix: str) -> tuple[np.ndarray, np.ndarray]:
    """One sample's output from both models, each as float64 with one value per class.

    Args:
        output: name of the output.
        fp32: what the float model makes.
        int8: what the quantized model makes.
        fix: what to do about an output without classes.

    Raises:
        OptionError: the output does not have one value per class.
    """
    one, other = as_classes(fp32), as_classes(int8)
    if one is None or other is None:
        raise OptionError(
            f"output {output!r} has shape {fp32.shape} per sample, not one value per class", fix=fix
        )
    return one, other


def as_classes(sample: np.ndarray) -> np.ndarray | None:
    """A sample's output as one value per class, when all of its axes but one have length 1; else None."""
    if sample.dtype.kind not in "fV" or sample.size < 2 or sample.size != max(sample.shape, default=0):
        return None
    return sample.astype(np.float64).reshape(-1)


def class_output(samples: Mapping[str, np.ndarray]) -> str | None:
    """The first output whose sample has one value per class; None if there is none.

    Args:
        samples: output -> its value for one sample.
    """
    return next((name for name, sample in samples.items() if as_classes(sample) is not None), None)


class Tally:
    """Counts, sample by sample, whether two models answer alike and, given labels, whether they are right."""

    def __init__(self) -> None:
        self.samples = 0
        self.same = 0
        self.labelled = False
        self._right = {1: _Pairs(), _WIDE: _Pairs()}
        self._classes = 0

    def add(self, fp32: np.ndarray, int8: np.ndarray, label: int | str | None, name: str) -> None:
        """Counts one sample.

        Args:
            fp32: one value per class, from the float model.
            int8: one value per class, from the quantized model.
            label: the right class; None when there are no labels.
            name: the sample's name, for the error message.

        Raises:
            DataError: the label is not a class.
        """
        self.samples += 1
        self._classes = fp32.size
        self.same += int(np.argmax(fp32) == np.argmax(int8))
        if label is None:
            return
        if not isinstance(label, int) or not 0 <= label < fp32.size:
            raise DataError(
                f"the label of sample {name!r} is {label!r}, not a class from 0 to {fp32.size - 1}",
                fix="give the model's class numbers, or a --metric that knows these labels",
            )
        self.labelled = True
        for width, pairs in self._right.items():
            pairs.add(first=_rank(fp32, label) < width, second=_rank(int8, label) < width)

    @property
    def agreement(self) -> float:
        """Share of the samples for which both models favour the same class."""
        return self.same / self.samples

    @property
    def scores(self) -> dict[str, Merit]:
        """`top-1`, and `top-5` where there are more classes; empty without labels."""
        if not self.labelled:
            return {}
        widths: Sequence[int] = (1, _WIDE) if self._classes > _WIDE else (1,)
        return {f"top-{width}": self._right[width].score() for width in widths}


class _Pairs:
    """How often the first and the second of two models are right, and how often only one of them is."""

    def __init__(self) -> None:
        self.count = self.first = self.second = self.discordant = 0

    def add(self, *, first: bool, second: bool) -> None:
        self.count += 1
        self.first += first
        self.second += second
        self.discordant += first != second

    def score(self) -> Merit:
        # Variance of the differences d in {-1, 0, 1}: E[d²] - E[d]², over the number of samples.
        mean = (self.second - self.first) / self.count
        variance = max(self.discordant / self.count - mean * mean, 0.0)
        return Merit(self.first / self.count, self.second / self.count, math.sqrt(variance / self.count))


def _rank(values: np.ndarray, label: int) -> int:
    """How many classes come before the label: larger values, then equal ones of lower number. NaN comes last."""
    known = np.where(np.isnan(values), -np.inf, values)
    return int(np.sum(known > known[label]) + np.sum(known[:label] == known[label]))
