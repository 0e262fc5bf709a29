"""What a TensorRT build log says about tensors and their INT8 scales.

Made for `trtexec --verbose` logs of TensorRT 7 to 10; the same lines from other programs (Polygraphy, a
Python script with a verbose logger) are understood as well: the text before a message is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CHECK_PATH, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["TrtLog", "parse_log", "read_log"]

_FLOATS = ("FLOAT", "HALF", "BF16", "float32", "float16", "bfloat16")

# Names may hold anything, also what looks like the text around them. So a name is what lies between the first match
# of one pattern and the last of another; neither can match in more than one way from a place, and a line is read in
# time proportional to its length, whatever stands in it.
# The parser's account of the network, in verbose logs only.
_VERSION = re.compile(r"\[TensorRT v(\d{4,6})\]|TensorRT version: (\d{4,6}|\d+\.\d+\.\d+)")
_INPUT = re.compile(r"Adding network input: ")
_INPUT_TYPE = re.compile(r" with dtype: (?P<type>\w+), dimensions: ")
_REGISTERED = re.compile(r"Registering tensor: ")
_REGISTERED_FOR = re.compile(r" for ONNX tensor: (?=.)")
_OUTPUTS = re.compile(r" \[\w+\] outputs: (?=\[)")
_TYPED_AS = re.compile(r" -> \([^()]*\)\[(?P<type>\w+)\]\]")
_MARKED = re.compile(r"Marking ")
_MARKED_AS = re.compile(r" as output: (?=.)")
_FUSED_CONSTANT = re.compile(r"ConstShuffleFusion: Fusing ")
_FUSED_WITH = re.compile(r" with (?=.)")
# The builder's account of the scales. TensorRT 7 says "INT8 Inference Tensor scales: x scale: 0.5".
_SCALE = re.compile(r"INT8 Inference Tensor scales(?: and zero-points)?: ", re.IGNORECASE)
_SCALE_VALUE = re.compile(
    r" scale(?: and zero-point Quantization\(scale)?: \{?(?P<scale>[\d.]+(?:e[-+]?\d+)?|inf)", re.IGNORECASE
)
_REJECTED = re.compile(r"Rejecting (?:some|all) int8 implementations? of layer ")
_REJECTED_FOR = re.compile(r" due to missing int8 scales? for tensor ")
_REJECTED_AT = re.compile(r" at (?:input|output) index \d+")
_MISSING = re.compile(r"Missing (?:scale and zero-point|dynamic range) for tensor ")
_MISSING_SO = re.compile(r", expect fall ?back")
_UNNAMED_SHUFFLE = re.compile(r"\(Unnamed Layer\* (\d+)\) \[Shuffle\]")


@dataclass(frozen=True)
class TrtLog:
    """What a build log says about INT8 scales. Tensors have the names of TensorRT's network.

    Attributes:
        version: TensorRT's version as the log writes it; empty when it does not.
        types: every tensor the ONNX parser registered -> its element type (FLOAT, HALF, INT32 ...).
        scales: tensor -> the scale the builder applied, in the six digits of the log.
        rejected: tensor without a scale -> the layers that lost INT8 implementations for it.
        missing: tensors of the builder's warnings that a scale is missing.
        constants: tensors TensorRT made of constants -> the ONNX constant each was made of.
        cache_read: whether a calibration cache was read.
        cache_refused: whether TensorRT refused the cache for its header.
    """

    version: str
    types: Mapping[str, str]
    scales: Mapping[str, float]
    rejected: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    constants: Mapping[str, str]
    cache_read: bool
    cache_refused: bool

    @property
    def floats(self) -> tuple[str, ...]:
        """The floating point tensors that the parser registered, in its order."""
        return tuple(name for name, kind in self.types.items() if kind in _FLOATS)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The tensors that the builder itself said have no scale."""
        return tuple(dict.fromkeys([*self.rejected, *self.missing]))


def read_log(path: str | Path) -> TrtLog:
    """Reads a log file; see `parse_log`. Bytes that are not UTF-8 are replaced."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"cannot read the log: {error.strerror or error}", where=str(path), fix=CHECK_PATH
        ) from error
    return parse_log(text.split("\n"), str(path))


def parse_log(lines: Iterable[str], name: str = "") -> TrtLog:
    """Reads a log line by line.

    Args:
        lines: the log's lines.
        name: the file's name, for the message.

    Raises:
        DataError: when no line says anything about tensors or scales.
    """
    reader = _Reader()
    for line in lines:
        reader.read_line(line.rstrip("\r\n"))
    log = reader.finish()
    if not (log.types or log.scales or log.lacking or log.cache_refused):
        raise DataError(
            "the log says nothing about tensors or INT8 scales",
            where=name,
            fix="build with `trtexec --int8 --calib=... --verbose` and keep all of its output",
        )
    return log


def _between(line: str, begin: re.Pattern[str], end: re.Pattern[str]) -> tuple[str, re.Match[str]] | None:
    """What lies between the first match of one pattern and the last of another behind it, and that last match."""
    first = begin.search(line)
    last = _last(end, line, first.end() + 1) if first else None
    return (line[first.end() : last.start()], last) if first and last else None


def _last(pattern: re.Pattern[str], line: str, begin: int) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(line, begin):
        last = match
    return last


def _behind(match: re.Match[str]) -> str:
    return match.string[match.end() :]


class _Reader:
    def __init__(self) -> None:
        self.version = ""
        self.registered: dict[str, str] = {}  # ONNX name -> TensorRT's name
        self.types: dict[str, str] = {}  # ONNX name -> element type
        self.scales: dict[str, float] = {}
        self.rejected: dict[str, dict[str, None]] = {}
        self.missing: dict[str, None] = {}
        self.constants: dict[str, str] = {}
        self.cache_read = self.cache_refused = False

    def read_line(self, line: str) -> None:
        """Notes what one line says. Most lines of a log are the builder's timings and say nothing."""
        if found := _between(line, _SCALE, _SCALE_VALUE):
            self._note_scale(*found)
        elif found := _between(line, _REJECTED, _REJECTED_FOR):
            self._note_rejected(*found)
        elif found := _between(line, _MISSING, _MISSING_SO):
            self.missing[found[0]] = None
        elif found := _between(line, _FUSED_CONSTANT, _FUSED_WITH):
            self._note_constant(found[0], _behind(found[1]))
        elif "Reading Calibration Cache" in line:
            self.cache_read = True
        elif "Calibration table does not match calibrator algorithm type" in line:
            self.cache_refused = True
        else:
            self._read_parser_line(line)

    def _read_parser_line(self, line: str) -> None:
        if found := _between(line, _REGISTERED, _REGISTERED_FOR):
            self.registered[_behind(found[1])] = found[0]
        elif match := _OUTPUTS.search(line):
            self._note_types(line[match.end() :])
        elif found := _between(line, _INPUT, _INPUT_TYPE):
            name, match = found
            self.registered[name] = name
            self.types[name] = match["type"]
        elif found := _between(line, _MARKED, _MARKED_AS):
            name = _behind(found[1])
            self.registered[name] = name
        elif not self.version and (match := _VERSION.search(line)):
            self.version = match[1] or match[2]

    def _note_scale(self, name: str, match: re.Match[str]) -> None:
        try:
            self.scales[name] = float(match["scale"])
        except ValueError:
            return  # digits and dots that are not a number: not a line of TensorRT's

    def _note_rejected(self, layer: str, match: re.Match[str]) -> None:
        rest = _behind(match)
        last = _last(_REJECTED_AT, rest, 1)
        if last is not None:
            self.rejected.setdefault(rest[: last.start()], {})[layer] = None

    def _note_types(self, outputs: str) -> None:
        """Notes the tensors of `[name -> (shape)[TYPE]], [name -> (shape)[TYPE]]`."""
        begin = 0
        for match in _TYPED_AS.finditer(outputs):
            name = outputs[begin : match.start()].partition("[")[2]
            if name:
                self.types[name] = match["type"]
            begin = match.end()

    def _note_constant(self, constant: str, shuffle: str) -> None:
        # The parser adds the shuffle that fits a constant to its partner's rank right behind the constant.
        # Up to 8.5 their tensors have numbers for names, of which the shuffle's alone is in the log.
        self.constants[f"{shuffle}_output"] = constant
        if match := _UNNAMED_SHUFFLE.fullmatch(shuffle):
            self.constants[f"(Unnamed Layer* {int(match[1]) - 1}) [Constant]_output"] = constant
        else:
            self.constants[f"{constant}_output"] = constant

    def finish(self) -> TrtLog:
        """Everything that was found, under TensorRT's names; ONNX constants are not registered as tensors."""
        return TrtLog(
            version=self.version,
            types={
                self.registered[name]: kind for name, kind in self.types.items() if name in self.registered
            },
            scales=self.scales,
            rejected={name: tuple(layers) for name, layers in self.rejected.items()},
            missing=tuple(self.missing),
            constants=self.constants,
            cache_read=self.cache_read,
            cache_refused=self.cache_refused,
        )
