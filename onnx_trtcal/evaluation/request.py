"""What `evaluate` and `sensitivity` are asked for beside a model and data: one frozen object each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import OptionError
from onnx_trtcal.options import Options
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.scale_source import source_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from onnx_trtcal.evaluation.labels import Labels

__all__ = ["EvaluationOptions", "SensitivityOptions", "SimulationOptions", "with_transform"]


@dataclass(frozen=True)
class SimulationOptions:
    """What every verb that simulates INT8 asks: whose scales, placed how, and which answers are right.

    Attributes:
        source: where the scales come from: data to calibrate on, a statistics file, or a calibration cache, as
            `quantize` takes them; None calibrates on the very data that is run, which flatters.
        options: preprocessing, samples, batch size, provider; how to calibrate and to solve.
        qdq: where Q/DQ pairs go.
        labels: the right answers: a file (see `evaluation.labels.read_labels`) or what was read from one; None
            when they are not known.
        output: the output that holds one value per class; empty for the first that does.
    """

    source: Any = None
    options: Options = Options()
    qdq: QdqOptions = QdqOptions()
    labels: str | Path | Labels | None = None
    output: str = ""


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
        metric: `file.py:name` of the user's own metric, see `evaluation.metric`; empty for none.
    """

    quantized: str | Path | onnx.ModelProto | None = None
    metric: str = ""


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
    if function is None or request.source is None or source_kind(request.source) != "data":
        return request
    return replace(request, source=transformed(request.source, function))
