"""What `tune` is asked for: the target, and how far it may go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.request import SimulationOptions
from onnx_trtcal.options import percent

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TuneOptions", "parse_drop", "parse_share"]


@dataclass(frozen=True)
class TuneOptions(SimulationOptions):
    """What `tune` is asked for, beside what every simulation of INT8 is.

        >>> from onnx_trtcal import Options, TuneOptions
        >>> TuneOptions(options=Options(max_samples=64), labels="test/labels.csv", max_drop=0.005).max_float
        0.5

    `options` are those of the calibration; its method is chosen, and so are equalization, rounding and more nodes to
    exclude than `qdq` does. `source` has no part: the data to calibrate on is an argument of its own.

    Attributes:
        max_drop: how far the figure may fall below the float model's, in the figure's own unit: 0.01 is one point of
            accuracy, mAP or agreement. Where the outputs hold no answers, the largest share of noise in a block of
            them: 0.01 is 20 dB.
        lower_is_better: whether the metric is an error, which must not rise.
        budget: seconds after which the best so far is taken; None for no limit.
        eval_samples: use so many samples of the test data only.
        max_float: largest share of the multiply-adds that may stay in floating point.
        max_layers: most layers that may be left in floating point to reach the target; None for no limit.
        compile: whether NVIDIA's compiler, where it is installed, says what an engine moves.
        notes: a file for what steps come to: a run with the same model, data and options resumes from there. It is
            the caller's to remove when the result is safe.

    Raises:
        OptionError: a number means nothing, or `source` is given.
    """

    max_drop: float = field(default=0.01, kw_only=True)
    lower_is_better: bool = field(default=False, kw_only=True)
    budget: float | None = field(default=None, kw_only=True)
    eval_samples: int | None = field(default=None, kw_only=True)
    max_float: float = field(default=0.5, kw_only=True)
    max_layers: int | None = field(default=None, kw_only=True)
    compile: bool = field(default=True, kw_only=True)
    notes: str | Path | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source is not None:
            raise OptionError("source is given", fix="tune calibrates on its argument `data`")
        if not (math.isfinite(self.max_drop) and self.max_drop >= 0):
            raise OptionError(f"max_drop is {self.max_drop}, wanted 0 or more", fix="write 1% or 0.01")
        if not self.metric and self.max_drop >= 1:
            raise OptionError(
                f"max_drop is {self.max_drop}, and the whole figure is 1",
                fix="write 1% or 0.01 for one point",
            )
        if not 0 <= self.max_float <= 1:
            raise OptionError(f"max_float is {self.max_float}, wanted a share such as 50% (0.5)")
        if self.budget is not None and not self.budget > 0:
            raise OptionError(f"budget is {self.budget}, wanted a time such as 60s or 10m")
        if self.lower_is_better and not self.metric:
            raise OptionError("lower_is_better is about a metric of yours", fix="pass --metric")
        for name in ("eval_samples", "max_layers"):
            value = getattr(self, name)
            if value is not None and value < (1 if name == "eval_samples" else 0):
                raise OptionError(f"{name} is {value}, wanted a positive number")


def parse_drop(text: str) -> float:
    """A drop from `1%` or `0.01`.

    Raises:
        OptionError: when the text is not a number.
    """
    return _percent(text, "a drop", "1% or 0.01")


def parse_share(text: str) -> float:
    """A share from `50%` or `0.5`.

    Raises:
        OptionError: when the text is not a number.
    """
    return _percent(text, "a share", "50% or 0.5")


def _percent(text: str, what: str, such_as: str) -> float:
    try:
        return percent(text)
    except ValueError as error:
        raise OptionError(f"{text!r} is not {what}", fix=f"write {such_as}") from error
