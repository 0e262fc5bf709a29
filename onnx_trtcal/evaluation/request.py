"""What `evaluate` and `sensitivity` are asked for beside a model and data: one frozen object each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.evaluation.tasks.names import HEADS, IOU, NMS_IOU, SCORE_THRESHOLD, TASKS
from onnx_trtcal.options import DEFAULT_METHOD, Options, with_method
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.support.wording import with_article

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from onnx_trtcal.evaluation.labels import Labels
    from onnx_trtcal.support.progress import Listener

__all__ = [
    "EvaluationOptions",
    "SensitivityOptions",
    "SimulationOptions",
    "simulated_method",
    "with_transform",
]


@dataclass(frozen=True)
class SimulationOptions:
    """What every verb that simulates INT8 asks: whose scales, placed how, and which answers are right.

    Attributes:
        source: where the scales come from: data to calibrate on, a statistics file, or a calibration cache, as
            `quantize` takes them; None calibrates on the very data that is run, which flatters.
        options: preprocessing, samples, batch size, provider; how to calibrate and to solve.
        qdq: where Q/DQ pairs go.
        labels: the right answers: a file (see `evaluation.labels.read_labels`) or what was read from one; for
            `detect` COCO's annotations or a folder of YOLO's text files, for `segment` a folder of PNG masks; None
            when they are not known.
        output: the output that holds one value per class, or what else the task reads; empty for the first that does.
        task: what the outputs are for: `classify`, `detect`, `segment` or `none`; empty for `classify` where an output
            has one value per class, else `none`.
        head: for `detect`, how outputs hold detections, one of `evaluation.tasks.names.HEADS`; empty to find out.
        score_threshold: for `detect`, detections count above this score.
        iou: for `detect`, the least intersection over union of detections of both models that are the same.
        nms_iou: for `detect`, boxes of a class that overlap a better one by more are dropped, before detections are
            compared; not where the model does that itself.
        metric: `file.py:name` of the user's own metric, see `evaluation.metric`; empty for none.

    Raises:
        OptionError: there is no such task or head, or a threshold is not between 0 and 1.
    """

    source: Any = None
    options: Options = Options()
    qdq: QdqOptions = QdqOptions()
    labels: str | Path | Labels | None = None
    output: str = ""
    task: str = field(default="", kw_only=True)
    head: str = field(default="", kw_only=True)
    score_threshold: float = field(default=SCORE_THRESHOLD, kw_only=True)
    iou: float = field(default=IOU, kw_only=True)
    nms_iou: float = field(default=NMS_IOU, kw_only=True)
    metric: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for name, known in (("task", TASKS), ("head", tuple(HEADS))):
            value = getattr(self, name)
            if value and value not in known:
                raise OptionError(
                    f"{name} is {value!r}, which is none of {', '.join(known)}",
                    fix=did_you_mean(value, known),
                )
        if self.head and self.task != "detect":
            raise OptionError(
                f"head is {self.head!r}, and only the task detect has heads", fix="pass --task detect"
            )
        for name in ("score_threshold", "iou", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}, wanted a number from 0 to 1")
        if self.labels is not None and not isinstance(self.labels, (str, os.PathLike)):
            # The help of the verbs needs the defaults above, and nothing that reads labels.
            from onnx_trtcal.evaluation.labels import Labels

            if not isinstance(self.labels, Labels):
                raise OptionError(
                    f"labels is {with_article(type(self.labels).__name__)}, wanted the path of a file or folder",
                    fix="save an array as a .npy file with one label per sample, in the order of the data",
                )


@dataclass(frozen=True)
class EvaluationOptions(SimulationOptions):
    """What `evaluate` is asked for, beside what every simulation of INT8 is.

        >>> from onnx_trtcal import EvaluationOptions, Options
        >>> request = EvaluationOptions("model.cache", Options(provider="cpu"), labels="test/labels.csv")
        >>> request.source, request.options.provider, request.quantized
        ('model.cache', 'cpu', None)

    Attributes:
        quantized: a Q/DQ model to take instead of quantizing here, by whatever tool; `source` and `qdq` then
            play no part.
    """

    quantized: str | Path | onnx.ModelProto | None = None


@dataclass(frozen=True)
class SensitivityOptions(SimulationOptions):
    """What `sensitivity` is asked for, beside what every simulation of INT8 is.

        >>> from onnx_trtcal import Options, SensitivityOptions
        >>> SensitivityOptions("model.cache", Options(max_samples=32), worst=5).leave_out
        False

    Attributes:
        leave_out: quantize all but one group at a time, rather than one alone.
        worst: how many of the worst groups to try in floating point together.

    Raises:
        OptionError: when `worst` is not a positive number, or `qdq.round` or `qdq.equalize` is on.
    """

    leave_out: bool = False
    worst: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.qdq.round:
            raise OptionError(
                "sensitivity ranks groups with their weights rounded to the nearest: round has no part in it",
                fix="leave it out here; `quantize` and `evaluate` take it",
            )
        if self.qdq.equalize != "off":
            raise OptionError(
                "sensitivity ranks the groups of the model as it is: equalize has no part in it",
                fix="leave it out here; `quantize` and `evaluate` take it",
            )
        if self.worst < 1:
            raise OptionError(f"worst is {self.worst}, wanted a positive number")


Request = TypeVar("Request", bound=SimulationOptions)


def with_transform(request: Request, function: Callable[[Any], Any] | None) -> Request:
    """The request with a transform before the data that it calibrates on, if it names any."""
    # The help of the verbs needs the defaults above, and nothing that reads models.
    from onnx_trtcal.scale_source import source_kind

    if function is None or request.source is None or source_kind(request.source) != "data":
        return request
    return replace(request, source=transformed(request.source, function))


def simulated_method(source: Any, options: Options, listener: Listener) -> Options:
    """The options with the method that is simulated, which is said where nobody chose it.

    Args:
        source: where the scales come from.
        options: as asked.
        listener: receives the method; a cache or a calibration has its own scales.
    """
    from onnx_trtcal.scale_source import source_kind

    if options.method is None and source_kind(source) in ("data", "statistics"):
        listener.say(
            f"simulating method {DEFAULT_METHOD}, the default of a cache; --method auto is that of quantize"
        )
    return with_method(options)
