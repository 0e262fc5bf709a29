"""The task `detect`: both models' detections matched one to one and, with labels, mean average precision."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.tasks.detect.boxes import Detections, match, no_detections, suppress
from onnx_trtcal.evaluation.tasks.detect.choose import choose_head
from onnx_trtcal.evaluation.tasks.detect.head import Scene
from onnx_trtcal.evaluation.tasks.detect.mean_ap import mean_average_precision
from onnx_trtcal.evaluation.tasks.detect.truth import Boxes, Truth, by_position
from onnx_trtcal.evaluation.tasks.result import DetectionCounts, TaskResult
from onnx_trtcal.evaluation.tasks.task import Samples, each_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.evaluation.tasks.detect.head import Head
    from onnx_trtcal.evaluation.tasks.task import Outputs
    from onnx_trtcal.support.progress import Listener

__all__ = ["Detect", "DetectOptions"]

_LEAST = 0.001  # least score of a detection that counts towards mAP, as detectors are usually validated
_UNNAMED = re.compile(r"(^item \d+|^data|\[\d+\])$")


@dataclass(frozen=True)
class DetectOptions:
    """How detections are read and matched; fields as in `evaluation.request.SimulationOptions`."""

    head: str
    output: str
    score_threshold: float
    iou: float
    nms_iou: float


class Detect:
    """Reads detections from the outputs, by the head that the first sample with any shows, and compares them.

    Args:
        options: the head, and the thresholds.
        truth: the right boxes, if known.
        names: those of the model's classes; empty where it does not say.
        ultralytics: whether the model's metadata is that of ultralytics' own exporter.
        listener: receives which head was taken and why, and how labels are read.
    """

    name = "detect"

    def __init__(
        self,
        options: DetectOptions,
        truth: Truth | None,
        names: Sequence[str],
        listener: Listener,
        *,
        ultralytics: bool = False,
    ) -> None:
        self.options = options
        self.head: Head | None = None
        self._truth = truth
        self._named = False
        self._names, self._ultralytics = names, ultralytics
        self._listener = listener
        self._numbers: Mapping[int, int] | None = None

    def start(self) -> DetectScoring:
        """Begins a pass over the data."""
        return DetectScoring(self)

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self._truth is not None

    def read(self, outputs: Outputs, samples: Samples) -> list[Detections]:
        """The detections of each sample, duplicates suppressed, down to the least score that matters.

        Args:
            outputs: the outputs of either model.
            samples: the samples.

        Raises:
            OptionError: the outputs fit no head, or no input looks like an image.
        """
        if samples.size is None:
            raise OptionError(
                "no input of the model looks like an image, so that boxes have no size to refer to",
                fix="give a --metric FILE.py:NAME that reads the outputs",
            )
        return [self._read(sample, samples.size) for sample in each_sample(outputs)]

    def _read(self, sample: Mapping[str, np.ndarray], size: tuple[int, int]) -> Detections:
        if self.head is None:
            scene = Scene(size, self._names, self._ultralytics, self.options.output)
            self.head = choose_head(sample, scene, self.options.head)
            if self.head is not None:
                asked = "as asked" if self.options.head else "found"
                self._listener.say(f"detections: head {self.head.name!r}, {asked}: {self.head.reason}")
        if self.head is None:
            return no_detections()
        least = min(self.options.score_threshold, _LEAST) if self.labelled else self.options.score_threshold
        found = self.head.decode(sample, size).above(least)
        return found if self.head.final else suppress(found, self.options.nms_iou)

    def right(self, samples: Samples) -> list[Boxes]:
        """What each sample shows, with the labels' numbers of classes.

        Raises:
            DataError: a sample has no label.
        """
        assert self._truth is not None
        assert samples.size is not None
        if not self._named:
            self._truth = self._settled(self._truth, samples)
            self._named = True
        return [
            self._truth.of(name, samples.positions[offset], geometry, samples.size)
            for offset, (name, geometry) in enumerate(zip(samples.names, samples.geometry, strict=True))
        ]

    def _settled(self, truth: Truth, samples: Samples) -> Truth:
        """The labels by position where samples carry no image's name; says how they are read."""
        said = "labels: "
        if _UNNAMED.search(samples.names[0]) and not truth.knows(samples.names[0]):
            truth = by_position(truth)
            said += "by position, samples having no names of files; "
        said += (
            "in pixels of the network's input, how the data was made of images not being known"
            if samples.geometry[0] is None
            else "mapped into the network's input as the images are"
        )
        self._listener.say(said)
        return truth

    def numbered(self, right: Sequence[Boxes], found: Sequence[Detections]) -> list[Boxes]:
        """Labels with the model's numbers of classes.

        Args:
            right: what each sample shows, as labelled.
            found: what the float model finds there.

        Raises:
            DataError: no label belongs to any of the samples, or the model has no such class.
        """
        assert self._truth is not None
        if not any(len(each.classes) for each in right):
            raise DataError(
                "no label shows anything in any of the samples",
                where=self._truth.where,
                fix="name the labels' files as the images",
            )
        if self._numbers is None:
            classes = self.head.classes if self.head else None
            seen = max((int(each.classes.max()) for each in found if len(each)), default=-1)
            self._numbers, said = self._truth.numbers(self._names, classes, seen)
            self._listener.say(f"labels: {said}")
        numbers = self._numbers
        return [
            replace(each, classes=np.array([numbers[int(one)] for one in each.classes], np.int64))
            for each in right
        ]


@dataclass
class _Counts:
    """What is added up for one variant."""

    fp32: int = 0
    int8: int = 0
    ious: list[float] = field(default_factory=list)
    found: list[Detections] = field(default_factory=list)


class DetectScoring:
    """One pass over the data.

    Args:
        task: reads outputs.
    """

    def __init__(self, task: Detect) -> None:
        self._task = task
        self._right: list[Boxes] = []
        self._expected: list[Detections] = []
        self._now: list[Detections] = []
        self._samples: Samples | None = None
        self._counts: dict[str, _Counts] = {}

    def expect(self, outputs: Outputs, samples: Samples) -> None:
        """Reads the float model's detections of the next samples."""
        self._samples = samples
        self._now = self._task.read(outputs, samples)
        if self._task.labelled:
            self._right += self._task.right(samples)
            self._expected += _shown(self._now, samples)

    def compare(self, variant: str, outputs: Outputs) -> None:
        """Matches a variant's detections of the same samples."""
        assert self._samples is not None
        options = self._task.options
        counts = self._counts.setdefault(variant, _Counts())
        found = self._task.read(outputs, self._samples)
        for fp32, int8 in zip(self._now, found, strict=True):
            one, other = fp32.above(options.score_threshold), int8.above(options.score_threshold)
            counts.fp32 += len(one)
            counts.int8 += len(other)
            counts.ious += [overlap for _, _, overlap in match(one, other, options.iou)]
        if self._task.labelled:
            counts.found += _shown(found, self._samples)

    def results(self) -> dict[str, TaskResult]:
        """Variant -> what it keeps, loses and invents; with labels mAP."""
        right = self._task.numbered(self._right, self._expected) if self._task.labelled else []
        fp32 = mean_average_precision(right, self._expected) if right else {}
        return {name: self._result(each, right, fp32) for name, each in self._counts.items()}

    def _result(self, counts: _Counts, right: Sequence[Boxes], fp32: Mapping[str, float]) -> TaskResult:
        options, head = self._task.options, self._task.head
        detection = DetectionCounts(
            head=head.name if head else "",
            reason=head.reason if head else "",
            score_threshold=options.score_threshold,
            iou=options.iou,
            nms_iou=None if head is None or head.final else options.nms_iou,
            fp32=counts.fp32,
            int8=counts.int8,
            kept=len(counts.ious),
            lost=counts.fp32 - len(counts.ious),
            invented=counts.int8 - len(counts.ious),
            mean_iou=float(np.mean(counts.ious)) if counts.ious else None,
        )
        int8 = mean_average_precision(right, counts.found) if right else {}
        scores = {name: Merit(value, int8[name], None) for name, value in fp32.items()}
        return TaskResult("detect", agreement=detection.agreement, scores=scores, detection=detection)


def _shown(found: Sequence[Detections], samples: Samples) -> list[Detections]:
    """Detections cut to what the input shows of the image, as labels are."""
    cut = []
    for each, geometry in zip(found, samples.geometry, strict=True):
        if geometry is None:
            assert samples.size is not None
            bounds = (0.0, 0.0, float(samples.size[1]), float(samples.size[0]))
        else:
            bounds = geometry.visible
        left, top, right, bottom = bounds
        boxes = np.clip(each.boxes, [left, top, left, top], [right, bottom, right, bottom])
        cut.append(replace(each, boxes=boxes))
    return cut
