"""The options of a Q/DQ model: the only home of these defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx_trtcal.errors import OptionError
from onnx_trtcal.options import check_fields

__all__ = ["QdqOptions"]

WEIGHTS = ("auto", "int8", "float")
HIGH_PRECISIONS = ("fp32", "fp16")
ATTENTIONS = ("auto", "int8", "float")
TARGETS = ("tensorrt", "tensorrt10", "rtx")
EQUALIZE_LEVELS = ("off", "free", "full")


def _option(default: Any, help_text: str, choices: tuple[str, ...] = (), metavar: str = "") -> Any:
    return field(default=default, metadata={"help": help_text, "choices": choices, "metavar": metavar})


@dataclass(frozen=True)
class QdqOptions:
    """How Q/DQ pairs are placed and stored.

    `min_channels`, `gemv` and `attention` leave layers in floating point. NVIDIA's compiler moves fewer bytes with few
    channels and attentions in INT8, so both are quantized by default, but for products with a single vector, which
    cost time, and with the probabilities of a long attention, which cost accuracy.

        >>> from onnx_trtcal import QdqOptions
        >>> QdqOptions(exclude=("Softmax", "*/head/*"), min_channels=1).weights
        'auto'
    """

    target: str = _option(
        "tensorrt",
        "what builds the model: TensorRT 8 to 11, TensorRT 10 and 11 (grouped ConvTranspose in INT8, too), or TensorRT "
        "for RTX (no ConvTranspose in INT8)",
        choices=TARGETS,
    )
    weights: str = _option(
        "auto",
        "store weights as INT8 with DQ only, or as float with Q and DQ; auto: INT8, but for products that are split "
        "or reshaped next, such as a packed QKV",
        choices=WEIGHTS,
    )
    weight_bits: int = _option(
        8,
        "bits of a weight's integers: 7 keeps them within ±63, for kernels that add up products in 16 bits",
        metavar="8|7",
    )
    round: bool = _option(
        default=False,
        help_text="round weights by what they do to the layer's output on the data, not to the nearest integer, and "
        "correct biases; kept where it helps on samples held back",
    )
    equalize: str = _option(
        "off",
        "even out the channels of tensors before calibrating, exact in floating point and kept where it helps on "
        "samples held back: free rewrites weights only, full also puts a Mul behind activations such as SiLU",
        choices=EQUALIZE_LEVELS,
    )
    high_precision: str = _option(
        "fp32", "type of what stays in floating point (fp16 raises the opset to 19)", choices=HIGH_PRECISIONS
    )
    min_channels: int = _option(
        1,
        "leave a layer alone when its input and its output channels are both fewer; 1 quantizes all",
        metavar="N",
    )
    gemv: bool = _option(default=False, help_text="quantize matrix-vector products, too")
    attention: str = _option(
        "auto",
        "the two activation products around an attention's Softmax: both in INT8, both in floating point, or (auto) "
        "the one with the probabilities in floating point where there are more than 31 of them",
        choices=ATTENTIONS,
    )
    share_concat: bool = _option(
        default=True,
        help_text="give a Concat's branches the scale of its output, so that TensorRT moves Q through it",
    )
    exclude: tuple[str, ...] = _option(
        (), "leave these nodes in floating point: name, glob or op type (repeatable)", metavar="WHAT"
    )
    opset: int | None = _option(
        None, "raise the model to this opset (default: as low as Q/DQ allows)", metavar="N"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.min_channels < 1:
            raise OptionError(f"min_channels is {self.min_channels}, wanted a positive number")
        if self.weight_bits not in (7, 8):
            raise OptionError(f"weight_bits is {self.weight_bits}, wanted 8 or 7")
