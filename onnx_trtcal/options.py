"""Every option and its default: the Python API, the command line and TOML files all use these names.

A field's `help` metadata is the text that `--help` shows for the flag of the same name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from onnx_trtcal.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DEFAULT_METHOD",
    "Color",
    "Interpolation",
    "Layout",
    "Observe",
    "Options",
    "ParserNames",
    "Preprocess",
    "Preset",
    "ProviderChoice",
    "Range",
    "Resize",
    "check_fields",
    "parse_size",
    "parse_time",
    "percent",
    "with_method",
]

Resize = Literal["none", "stretch", "shorter", "letterbox"]
Color = Literal["rgb", "bgr", "gray"]
Layout = Literal["auto", "nchw", "nhwc"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Preset = Literal["imagenet", "caffe", "yolo", "signed", "raw"]
ProviderChoice = Literal["auto", "cuda", "cpu"]
Range = Literal["stable", "tensorrt"]
Observe = Literal["fused", "all"]
ParserNames = Literal["off", "plain", "all"]

MOST_THREADS = 1024
DEFAULT_METHOD = "entropy"
"""TensorRT's own, where no method is chosen."""


def _about(help_text: str, literal: Any = None, metavar: str = "") -> dict[str, Any]:
    """The metadata of an option; the values of `literal`, its type, are the choices."""
    return {"help": help_text, "choices": get_args(literal), "metavar": metavar}


def check_fields(options: Any) -> None:
    """Checks every field of an option dataclass against its type and its choices.

    Raises:
        OptionError: naming the option, its value and what is wanted.
    """
    for item in fields(options):
        value = getattr(options, item.name)
        kind = str(item.type).removesuffix(" | None")
        if value is None and kind != item.type:
            continue
        words, fits = _KINDS.get(kind, ("", lambda _: True))
        if not fits(value):
            raise OptionError(f"{item.name} is {value!r}, wanted {words}")
        choices = item.metadata.get("choices")
        if choices and value not in choices:
            raise OptionError(
                f"{item.name} is {value!r}, which is none of {', '.join(choices)}",
                fix=did_you_mean(str(value), choices),
            )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(fits, value))


# What a field's type is called in messages, and whether a value is of it.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_int),
    "float": ("a finite number", _is_number),
    "str": ("a string", lambda value: isinstance(value, str)),
    "tuple[int, int]": ("two whole numbers", lambda value: _all(_is_int)(value) and len(value) == 2),
    "tuple[float, ...]": ("finite numbers", _all(_is_number)),
    "tuple[str, ...]": ("a tuple of strings", _all(lambda value: isinstance(value, str))),
}


@dataclass(frozen=True)
class Preprocess:
    """How an image file becomes a model input. Arrays (.npy, .npz) are fed as they are.

    Order of work: decode, colour, resize, crop, then `(pixel * scale - mean) / std` in float32, layout.
    `mean` and `std` are in units of the scaled pixel and have one value or one per channel, in the
    channel order of `color`. A preset only fills the fields left at None.

        >>> from onnx_trtcal import Preprocess
        >>> Preprocess(preset="imagenet", crop=(192, 192)).crop
        (192, 192)
        >>> mono = Preprocess(preset="raw", per_input={"cam0": Preprocess(color="gray")})

    Attributes:
        per_input: input name -> what differs for that input.
    """

    preset: Preset | None = field(
        default=None, metadata=_about("fill the flags below with a usual recipe", Preset)
    )
    resize: Resize | None = field(
        default=None,
        metadata=_about(
            "how to bring an image to --size: stretch, shorter side (aspect kept), or letterbox", Resize
        ),
    )
    size: tuple[int, int] | None = field(
        default=None,
        metadata=_about(
            "height and width to resize to (shorter: the shorter side); default: the model's", metavar="H,W"
        ),
    )
    crop: tuple[int, int] | None = field(
        default=None, metadata=_about("centre crop after resizing", metavar="H,W")
    )
    interpolation: Interpolation | None = field(
        default=None, metadata=_about("resampling filter (default bilinear)", Interpolation)
    )
    pad_value: float | None = field(
        default=None, metadata=_about("grey level 0..255 of letterbox borders (default 114)", metavar="V")
    )
    color: Color | None = field(
        default=None, metadata=_about("channel order the model wants (default rgb)", Color)
    )
    scale: float | None = field(
        default=None, metadata=_about("factor applied to 0..255 pixels (default 1/255)", metavar="F")
    )
    mean: tuple[float, ...] | None = field(
        default=None, metadata=_about("subtracted after scaling (default 0)", metavar="M[,M,M]")
    )
    std: tuple[float, ...] | None = field(
        default=None, metadata=_about("divided by after the mean (default 1)", metavar="S[,S,S]")
    )
    layout: Layout | None = field(
        default=None, metadata=_about("axis order the model wants (default: taken from its shape)", Layout)
    )

    per_input: Mapping[str, Preprocess] | None = field(
        default=None, metadata=_about("what differs for some inputs, by their names")
    )

    def over(self, other: Preprocess) -> Preprocess:
        """What `other` says, and what this says where `other` says nothing; a preset of `other` starts afresh."""
        base = Preprocess() if other.preset is not None else self
        names = [item.name for item in fields(self) if item.name != "per_input"]
        pairs = {name: (getattr(other, name), getattr(base, name)) for name in names}
        return Preprocess(**{name: low if high is None else high for name, (high, low) in pairs.items()})

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.per_input or {}, dict):
            raise OptionError(f"per_input is {self.per_input!r}, wanted {{input name: Preprocess}}")
        for name, each in (self.per_input or {}).items():
            if not isinstance(each, Preprocess) or each.per_input is not None:
                raise OptionError(f"per_input[{name!r}] is {each!r}, wanted a Preprocess without per_input")
        for name in ("size", "crop"):
            value = getattr(self, name)
            if value is not None and min(value) < 1:
                raise OptionError(f"{name} is {value!r}, wanted two positive numbers: height,width")
        if self.std is not None and any(value == 0 for value in self.std):
            raise OptionError("std has a zero, and pixels are divided by std")


@dataclass(frozen=True)
class Options:
    """What a calibration run does. Paths are not options: they are arguments of the functions that write.

    >>> from onnx_trtcal import Options
    >>> Options(method="mse", method_for=("Softmax=minmax",), max_samples=512).trt_version
    '10.3'
    """

    method: str | None = field(
        default=None,
        metadata=_about(
            "threshold method, with an argument after a colon where it takes one (default: entropy; auto where "
            "quantize reads data)",
            metavar="METHOD",
        ),
    )
    method_for: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "method for some tensors: OPTYPE=METHOD or NAME-GLOB=METHOD (repeatable)", metavar="WHAT=METHOD"
        ),
    )
    budget: float | None = field(
        default=None,
        metadata=_about(
            "how long method auto may search, as 60s or 5m (default: ten runs of the model per sample)",
            metavar="TIME",
        ),
    )
    steps: int | None = field(
        default=None,
        metadata=_about(
            "how many steps method auto takes; repeats a run with that many, whatever its budget", metavar="N"
        ),
    )
    range: Range = field(
        default="stable",
        metadata=_about("histogram range rule: one answer whatever the batching, or TensorRT's own", Range),
    )
    observe: Observe = field(
        default="fused",
        metadata=_about(
            "measure each fused group's output, or every tensor by itself as TensorRT does", Observe
        ),
    )
    tie_concat: bool = field(
        default=False,
        metadata=_about("give a Concat's branches and output one scale (TensorRT 6 to 7.2, DLA)"),
    )
    trt_version: str = field(
        default="10.3", metadata=_about("TensorRT version the cache is for, 5.1 to 10.16", metavar="VERSION")
    )
    parser_names: ParserNames = field(
        default="plain",
        metadata=_about(
            "what the cache names besides the model's own tensors, from TensorRT 10 on: what NVIDIA's parser names "
            "after a constant or a node (plain), its numbered helpers too, for which it is run (all), or nothing",
            ParserNames,
        ),
    )
    zero_scales: bool = field(
        default=False,
        metadata=_about("write TensorRT's 0 for an all-zero tensor, not a harmless positive scale"),
    )
    provider: ProviderChoice = field(
        default="auto", metadata=_about("ONNX Runtime execution provider", ProviderChoice)
    )
    batch_size: int | None = field(
        default=None,
        metadata=_about(
            "samples per run (default: 8, fewer where memory is short); a fixed batch in the model wins",
            metavar="N",
        ),
    )
    item_axis: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "axis of an input along which items are stacked, or none where a file is one item; default: found out "
            "by running a few items alone and together (repeatable)",
            metavar="[NAME=]N|none",
        ),
    )
    max_samples: int | None = field(
        default=None, metadata=_about("use the first N samples only", metavar="N")
    )
    memory_limit: int | None = field(
        default=None,
        metadata=_about("most bytes of activations to hold at a time, as 800M or 2G", metavar="SIZE"),
    )
    threads: int | None = field(
        default=None, metadata=_about("CPU threads (default: all cores)", metavar="N")
    )
    allow_nonfinite: bool = field(
        default=False, metadata=_about("continue when an activation holds NaN or Inf, ignoring those values")
    )
    allow_quantized: bool = field(
        default=False, metadata=_about("calibrate what is still float in an already quantized model")
    )
    ort_custom_ops: tuple[str, ...] = field(
        default=(), metadata=_about("shared library of ONNX Runtime custom ops (repeatable)", metavar="LIB")
    )
    until: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "run and observe only what this tensor depends on: the observed graph ends there (repeatable)",
            metavar="TENSOR",
        ),
    )
    checkpoint_every: int = field(
        default=256,
        metadata=_about(
            "samples between checkpoints of a run, from which the same command resumes", metavar="N"
        ),
    )
    until_stable: float | None = field(
        default=None,
        metadata=_about(
            "stop when no scale moved by more than this over the last quarter of the samples", metavar="P%"
        ),
    )
    check_samples: int = field(
        default=8,
        metadata=_about(
            "samples at most on which the result is compared with FP32 when it is done; 0: do not look",
            metavar="N",
        ),
    )
    preprocess: Preprocess = field(default=Preprocess(), metadata=_about("image preprocessing"))

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("batch_size", "max_samples", "memory_limit", "threads", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value}, wanted a positive number")
        if self.budget is not None and self.budget <= 0:
            raise OptionError(f"budget is {self.budget}, wanted a time such as 60s or 5m")
        if self.steps is not None and self.steps < 0:
            raise OptionError(f"steps is {self.steps}, wanted 0 or more")
        if self.check_samples < 0:
            raise OptionError(f"check_samples is {self.check_samples}, wanted a number of samples, or 0")
        if self.threads is not None and self.threads > MOST_THREADS:
            raise OptionError(f"threads is {self.threads}, wanted {MOST_THREADS} at most")
        if self.until_stable is not None and not 0 < self.until_stable < 1:
            raise OptionError(f"until_stable is {self.until_stable}, wanted a share such as 1% (0.01)")


def with_method(options: Options, method: str = DEFAULT_METHOD) -> Options:
    """The options, with this method where none was chosen."""
    return options if options.method is not None else replace(options, method=method)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def percent(text: str) -> float:
    """A share from `1%` or `0.01`.

    Raises:
        ValueError: when the text is not a number.
    """
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def parse_size(text: str) -> int:
    """Bytes from `2G`, `800M`, `1.5GiB` or a plain number; powers of 1024.

    Raises:
        OptionError: when the text is not a size.
    """
    digits = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = digits[-1:] if digits[-1:] in ("K", "M", "G", "T") else ""
    try:
        return int(float(digits.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError) as error:
        raise OptionError(f"{text!r} is not a size", fix="write 800M or 2G") from error


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_time(text: str) -> float:
    """Seconds from `60s`, `5m`, `1.5h` or a plain number.

    Raises:
        OptionError: when the text is not a time.
    """
    number = text.strip().lower()
    unit = number[-1:] if number[-1:] in _SECONDS else "s"
    try:
        seconds = float(number.removesuffix(unit)) * _SECONDS[unit]
    except ValueError as error:
        raise OptionError(f"{text!r} is not a time", fix="write 60s or 5m") from error
    if not math.isfinite(seconds):
        raise OptionError(f"{text!r} is not a time", fix="write 60s or 5m")
    return seconds
