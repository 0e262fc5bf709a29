"""The tasks that a request asks for: what is read from the outputs of both models, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.data.images.proposal import class_names
from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.evaluation.labels import Labels, labels_of
from onnx_trtcal.evaluation.metric import load_metric
from onnx_trtcal.evaluation.tasks.classify import Classify
from onnx_trtcal.evaluation.tasks.detect.choose import looks_like_detector
from onnx_trtcal.evaluation.tasks.detect.detect import Detect, DetectOptions
from onnx_trtcal.evaluation.tasks.detect.head import Scene
from onnx_trtcal.evaluation.tasks.detect.mean_ap import needed_package
from onnx_trtcal.evaluation.tasks.detect.truth import read_truth
from onnx_trtcal.evaluation.tasks.segment.masks import read_masks
from onnx_trtcal.evaluation.tasks.segment.segment import Segment
from onnx_trtcal.evaluation.tasks.user_metric import UserMetric

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np

    from onnx_trtcal.evaluation.metric import Meter
    from onnx_trtcal.evaluation.request import SimulationOptions
    from onnx_trtcal.evaluation.tasks.detect.truth import Truth
    from onnx_trtcal.evaluation.tasks.segment.masks import Masks
    from onnx_trtcal.evaluation.tasks.task import Samples, Task
    from onnx_trtcal.support.progress import Listener

__all__ = ["Asked", "read_asked"]


@dataclass(frozen=True)
class Asked:
    """What a request asks for, read and checked before any model is run.

    Attributes:
        request: the request.
        labels: right classes, or what a metric of the user's takes; None if not given, or of another kind.
        truth: right boxes for `detect`.
        masks: right classes of pixels for `segment`.
        make_meter: makes the user's metric; None without.
    """

    request: SimulationOptions
    labels: Labels | None
    truth: Truth | None
    masks: Masks | None
    make_meter: Callable[[], Meter] | None

    @property
    def keeps_outputs(self) -> bool:
        """Whether all outputs of all samples are kept until the end: a metric that is a function gets them so."""
        return self.make_meter is not None and not self.make_meter().streaming

    def tasks(
        self,
        metadata: Mapping[str, str],
        outputs: Sequence[str],
        listener: Listener,
        *,
        counted: Collection[str] = (),
        required: bool = False,
    ) -> list[Task]:
        """The tasks, for one model.

        Args:
            metadata: the model's, in which it may name its classes.
            outputs: the names of its outputs.
            listener: receives what is found out of them, and how labels are read.
            counted: outputs whose size depends on values.
            required: whether labels without an output that holds classes are an error.

        Raises:
            OptionError: the model has no output of the name asked for.
        """
        request = self.request
        if request.output and request.output not in outputs:
            raise OptionError(
                f"the model has no output {request.output!r}",
                fix=did_you_mean(request.output, outputs) or f"its outputs are {', '.join(outputs)}",
            )
        names = class_names(metadata)
        labels = self.labels and self.labels.for_model(names, listener)
        tasks: list[Task] = []
        if request.task == "detect":
            options = DetectOptions(
                request.head, request.output, request.score_threshold, request.iou, request.nms_iou
            )
            ultralytics = "task" in metadata and "names" in metadata
            tasks.append(Detect(options, self.truth, names, listener, ultralytics=ultralytics))
        elif request.task == "segment":
            tasks.append(Segment(request.output, self.masks, listener))
        elif request.task != "none":
            # Labels that are there for the user's own metric need not be classes.
            right = labels if self.make_meter is None or request.output or request.task else None
            needed = request.task == "classify" or (required and right is not None)
            other = None if request.task else _detector_hint(names, listener, say=self.make_meter is None)
            tasks.append(Classify(right, request.output, counted, required=needed, other=other))
        if self.make_meter is not None:
            tasks.append(UserMetric(self.make_meter, labels))
        return tasks


def read_asked(request: SimulationOptions) -> Asked:
    """Reads the labels and loads the metric of a request.

    Raises:
        DataError: the labels cannot be read.
        OptionError: there is no such metric, labels are not of the task's kind, or the package that computes mAP is
            not installed.
    """
    make_meter = load_metric(request.metric) if request.metric else None
    given = request.labels
    if request.task not in ("detect", "segment") or given is None:
        return Asked(request, labels_of(given), None, None, make_meter)
    if isinstance(given, Labels):
        raise OptionError(
            f"the labels are classes of samples, and the task is {request.task}",
            fix="give the path of boxes (detect) or of masks (segment)",
        )
    if request.task == "detect":
        needed_package()
        return Asked(request, None, read_truth(given), None, make_meter)
    return Asked(request, None, None, read_masks(given), make_meter)


def _detector_hint(
    names: Sequence[str], listener: Listener, *, say: bool
) -> Callable[[Mapping[str, np.ndarray], Samples], bool]:
    """Looks at a sample, and says so where the model looks like a detector."""

    def look(sample: Mapping[str, np.ndarray], samples: Samples) -> bool:
        if samples.size is None:
            return False
        head = looks_like_detector(sample, Scene(samples.size, names))
        if head is not None and say:
            listener.say(f"looks like a detector ({head.name}): pass --task detect to compare its detections")
        return head is not None

    return look
