"""The options of what improves a quantized model: the only home of these defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx_trtcal.options import check_fields

__all__ = ["EQUALIZE_LEVELS", "ImproveOptions"]

EQUALIZE_LEVELS = ("off", "free", "full")


@dataclass(frozen=True)
class ImproveOptions:
    """What is done to a float model before its scales are taken, so that INT8 loses less.

    >>> from onnx_trtcal import ImproveOptions
    >>> ImproveOptions(equalize="free").equalize
    'free'
    """

    equalize: str = field(
        default="off",
        metadata={
            "help": "even out the ranges of a tensor's channels, exactly in floating point and where that is measured "
            "to pay: free rewrites weights only, full also puts a per-channel Mul behind activations such as SiLU",
            "choices": EQUALIZE_LEVELS,
            "metavar": "",
        },
    )

    def __post_init__(self) -> None:
        check_fields(self)
