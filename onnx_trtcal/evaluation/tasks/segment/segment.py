"""The task `segment`: the classes that both models give each pixel; with label masks mean IoU of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.tasks.result import SegmentationOverlap, TaskResult
from onnx_trtcal.evaluation.tasks.segment.class_maps import MapReader, find_maps
from onnx_trtcal.evaluation.tasks.segment.masks import IGNORED, Masks
from onnx_trtcal.evaluation.tasks.task import Samples, each_sample

if TYPE_CHECKING:
    from onnx_trtcal.evaluation.tasks.task import Outputs
    from onnx_trtcal.support.progress import Listener

__all__ = ["Confusion", "Segment"]


class Confusion:
    """How many pixels have a class in one map and a class in another; grows with the classes that occur."""

    def __init__(self) -> None:
        self.counts = np.zeros((1, 1), np.int64)

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        """Counts the pixels of two maps of the same size with classes from 0."""
        most = int(max(one.max(initial=0), other.max(initial=0), len(self.counts) - 1)) + 1
        grown = np.bincount(one.ravel() * most + other.ravel(), minlength=most * most).reshape(most, most)
        grown[: len(self.counts), : len(self.counts)] += self.counts
        self.counts = grown

    @property
    def pixels(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    @property
    def agreement(self) -> float:
        """Share of the pixels with the same class in both."""
        return float(np.trace(self.counts) / self.pixels) if self.pixels else 1.0

    @property
    def mean_iou(self) -> float:
        """Intersection over union, averaged over the classes that occur in either map; NaN without any."""
        both = np.diag(self.counts)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - both
        counted = union > 0
        return float((both[counted] / union[counted]).mean()) if counted.any() else float("nan")


class Segment:
    """Compares the class of every pixel.

    Args:
        output: the output that classifies pixels; empty for the first that does.
        masks: the right classes, if known.
        listener: receives how the output and the labels are read.
    """

    name = "segment"

    def __init__(self, output: str, masks: Masks | None, listener: Listener) -> None:
        self.reader: MapReader | None = None
        self.masks = masks
        self._output = output
        self._listener = listener

    def start(self) -> SegmentScoring:
        """Begins a pass over the data."""
        return SegmentScoring(self)

    def read(self, outputs: Outputs, samples: Samples) -> list[np.ndarray]:
        """The class map of each sample.

        Raises:
            OptionError: no output classifies pixels.
        """
        found = []
        for sample in each_sample(outputs):
            if self.reader is None:
                self.reader = find_maps(sample, samples.size, self._output)
                self._listener.say(f"classes of pixels: {self.reader.words()}")
                if self.masks is not None:
                    self._say_of_masks(samples)
            found.append(self.reader.read(sample))
        return found

    def _say_of_masks(self, samples: Samples) -> None:
        if samples.geometry[0] is None:
            said = "they cover the network's input, how the data was made of images not being known"
        else:
            said = "mapped into the network's input as the images are"
        self._listener.say(f"label masks: {said}; {IGNORED} does not count")


class SegmentScoring:
    """One pass over the data.

    Args:
        task: reads outputs.
    """

    def __init__(self, task: Segment) -> None:
        self._task = task
        self._samples: Samples | None = None
        self._fp32: list[np.ndarray] = []
        self._right: list[np.ndarray] = []
        self._fp32_right = Confusion()
        self._agree: dict[str, Confusion] = {}
        self._int8_right: dict[str, Confusion] = {}

    def expect(self, outputs: Outputs, samples: Samples) -> None:
        """Reads the float model's classes."""
        task = self._task
        self._samples = samples
        self._fp32 = task.read(outputs, samples)
        if task.masks is None:
            return
        self._right = []
        for offset, (name, found) in enumerate(zip(samples.names, self._fp32, strict=True)):
            size = (found.shape[0], found.shape[1])
            mask = task.masks.of(name, samples.positions[offset], samples.geometry[offset], size)
            self._check(mask, name)
            self._right.append(mask)
            _add(self._fp32_right, mask, found)

    def compare(self, variant: str, outputs: Outputs) -> None:
        """Counts where a variant gives the same classes."""
        assert self._samples is not None
        agree = self._agree.setdefault(variant, Confusion())
        right = self._int8_right.setdefault(variant, Confusion())
        found = self._task.read(outputs, self._samples)
        for index, (one, other) in enumerate(zip(self._fp32, found, strict=True)):
            agree.add(one, other)
            if self._right:
                _add(right, self._right[index], other)

    def results(self) -> dict[str, TaskResult]:
        """Variant -> how many pixels keep their class, and with masks mean IoU."""
        return {name: self._result(name, each) for name, each in self._agree.items()}

    def _result(self, variant: str, agree: Confusion) -> TaskResult:
        reader = self._task.reader
        assert reader is not None
        overlap = SegmentationOverlap(
            reader.output, reader.classes or len(agree.counts), agree.pixels, agree.agreement, agree.mean_iou
        )
        scores = {}
        if self._task.masks is not None:
            scores["mIoU"] = Merit(self._fp32_right.mean_iou, self._int8_right[variant].mean_iou, None)
        return TaskResult("segment", reader.output, agree.agreement, scores, segmentation=overlap)

    def _check(self, mask: np.ndarray, name: str) -> None:
        reader = self._task.reader
        assert reader is not None
        classes = [int(each) for each in np.unique(mask) if each != IGNORED]
        if reader.classes is not None and classes and classes[-1] >= reader.classes:
            raise DataError(
                f"the mask of sample {name!r} has class {classes[-1]}, and the output {reader.output!r} tells "
                f"{reader.classes} apart, from 0",
                fix=f"number the classes as the model does, and give {IGNORED} to pixels that do not count",
            )


def _add(confusion: Confusion, right: np.ndarray, found: np.ndarray) -> None:
    counted = right != IGNORED
    confusion.add(right[counted], found[counted])
