"""The two ways in which a histogram's range comes about."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, get_args

from onnx_trtcal.errors import StatisticsError

__all__ = ["RangeRule", "range_rule"]

RangeRule: TypeAlias = Literal["stable", "tensorrt"]


def range_rule(text: str) -> RangeRule:
    """The rule of this name.

    Raises:
        StatisticsError: when there is none.
    """
    if text not in get_args(RangeRule):
        raise StatisticsError(f"{text!r} is not a range rule", fix="use stable or tensorrt")
    return cast("RangeRule", text)
