"""TensorRT's calibration cache: a text file with one scale per tensor.

    TRT-100300-EntropyCalibration2
    input: 3c010a14
    /conv1/Conv_output_0: 3d8e5618

The first line names the TensorRT version and the calibration algorithm. Each other line holds a tensor's name
as the network has it, a colon, one space, and the bits of its float32 scale (threshold / 127) in hexadecimal,
unpadded and in lower case. A name may itself contain `: `, so the last one of a line is the separator.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CHECK_PATH, CacheError, OptionError, did_you_mean
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.html import html_table
from onnx_trtcal.trt.version import ALGORITHMS, parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cache", "check_name", "dumps", "header_for", "loads", "read_cache", "write_cache"]

# Third parties write versions such as 8XXX, and a space at the end. TensorRT up to 3 (the legacy calibrator)
# has no such line: "0", then the bits of two float64 values, the regression cutoff and the quantile.
_HEADER = re.compile(r"TRT-(?P<version>[0-9A-Za-z.]+)-(?P<algorithm>[0-9A-Za-z_]+) *|0[0-9a-f]{32}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{1,8}", re.ASCII)
_INFINITY = 0x7F800000
_EXAMPLE = "the first line of a cache reads like TRT-100300-EntropyCalibration2"


@dataclass(frozen=True, repr=False)
class Cache:
    """A calibration cache. A notebook shows its scales as a table.

        >>> from onnx_trtcal import Cache
        >>> cache = Cache("TRT-8601-EntropyCalibration2", {"input": 0.5})
        >>> cache.version, cache.algorithm
        ('8601', 'EntropyCalibration2')

    Attributes:
        header: the first line, without its end.
        scales: tensor name to scale, an exact float32 value, in the order of the file.
        newline: what ends a line: LF, or CRLF in a file that went through Windows.
    """

    header: str
    scales: Mapping[str, float]
    newline: str = "\n"

    def __repr__(self) -> str:
        return f"<Cache {self.header}: {len(self.scales)} scales>"

    def _repr_html_(self) -> str:
        rows = [(tensor, scale, scale * 127) for tensor, scale in self.scales.items()]
        return html_table(self.header, ("tensor", "scale", "threshold"), rows)

    @property
    def version(self) -> str:
        """The version in the header as it stands there (`100300`); empty for the headerless legacy format."""
        match = _HEADER.fullmatch(self.header)
        return (match["version"] or "") if match else ""

    @property
    def algorithm(self) -> str:
        """The calibration algorithm in the header; empty for the headerless legacy format."""
        match = _HEADER.fullmatch(self.header)
        return (match["algorithm"] or "") if match else ""


def header_for(trt_version: str, algorithm: str = "EntropyCalibration2") -> str:
    """The first line of a cache for a TensorRT version, given as `10.3`, `10.3.0` or `100300`.

    Raises:
        OptionError: for a version or an algorithm that no cache can be written for.
    """
    if algorithm not in ALGORITHMS:
        raise OptionError(
            f"{algorithm!r} is not a calibration algorithm of TensorRT",
            fix=did_you_mean(algorithm, ALGORITHMS) or f"take one of {', '.join(ALGORITHMS)}",
        )
    return f"TRT-{parse_version(trt_version).number}-{algorithm}"


def loads(data: bytes | str, name: str = "") -> Cache:
    """Reads a whole cache, or nothing.

    Args:
        data: the file's content.
        name: the file's name, for the messages.

    Raises:
        CacheError: naming the line, for a missing header, a blank line, a line without a value, bad
            hexadecimal, a negative or NaN scale, a name given twice, or a file cut off in its last line.
    """
    name = name or "calibration cache"
    text = data if isinstance(data, str) else _decode(data, name)
    if not text:
        raise CacheError("the calibration cache is empty", where=name, fix=_EXAMPLE)
    lines = text.split("\n")
    complete = lines[-1] == ""
    if complete:
        lines.pop()
    newline = "\r\n" if lines[0].endswith("\r") else "\n"
    if newline == "\r\n":
        lines = [_without_return(line, number, name) for number, line in enumerate(lines, 1)]
    if not _HEADER.fullmatch(lines[0]):
        raise CacheError(
            f"not a TensorRT calibration cache: it starts with {lines[0][:60]!r}",
            where=f"{name}, line 1",
            fix=_EXAMPLE,
        )
    if not complete and len(lines) > 1 and not re.search(r": ([0-9a-fA-F]{8}|0)$", lines[-1]):
        raise CacheError(
            f"the file is cut off in its last line: {lines[-1][-60:]!r}",
            where=f"{name}, line {len(lines)}",
            fix="copy the file again; every line ends with a line feed",
        )
    scales: dict[str, float] = {}
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        tensor, scale = _entry(line, f"{name}, line {number}")
        if tensor in scales:
            raise CacheError(
                f"tensor {tensor!r} has two entries; the first is on line {first_seen[tensor]}",
                where=f"{name}, line {number}",
                fix="remove one of them",
            )
        scales[tensor] = scale
        first_seen[tensor] = number
    return Cache(lines[0], scales, newline)


def dumps(cache: Cache) -> bytes:
    """The file's bytes, as TensorRT writes them.

    Raises:
        CacheError: naming the tensor, for a scale that is negative, NaN or out of float32's range, or a name
            that could not be read back.
    """
    if not _HEADER.fullmatch(cache.header):
        raise CacheError(f"{cache.header!r} is not the header of a calibration cache", fix=_EXAMPLE)
    if cache.newline not in ("\n", "\r\n"):
        raise CacheError(f"{cache.newline!r} is not a line end", fix="use a line feed")
    lines = [cache.header]
    lines += (f"{check_name(tensor)}: {_bits(tensor, scale):x}" for tensor, scale in cache.scales.items())
    return "".join(line + cache.newline for line in lines).encode()


def read_cache(path: str | Path) -> Cache:
    """Reads a calibration cache, as TensorRT or this package wrote it.

        >>> from onnx_trtcal import Cache, read_cache, write_cache
        >>> write_cache("a.cache", Cache("TRT-100300-EntropyCalibration2", {"input": 0.5}))
        >>> read_cache("a.cache").scales
        {'input': 0.5}

    Raises:
        CacheError: when the file cannot be read, or is not a cache; see `loads`.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CacheError(
            f"cannot read the calibration cache: {error.strerror or error}", where=str(path), fix=CHECK_PATH
        ) from error
    return loads(data, str(path))


def write_cache(path: str | Path, cache: Cache) -> None:
    """Writes a calibration cache, whole or not at all, as TensorRT writes it.

        >>> from onnx_trtcal import Cache, write_cache
        >>> write_cache("a.cache", Cache("TRT-100300-EntropyCalibration2", {"input": 0.5, "output": 1.0}))
        >>> print(open("a.cache").read(), end="")
        TRT-100300-EntropyCalibration2
        input: 3f000000
        output: 3f800000

    Raises:
        CacheError: for a scale or a name that no cache can hold; see `dumps`.
        CalibrationError: when the file cannot be written.
    """
    atomic_write(path, dumps(cache))


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CacheError(
            f"not a TensorRT calibration cache: byte {data[error.start]:#04x} is not UTF-8 text",
            where=f"{name}, line {line}",
            fix="give the cache file itself, which is text",
        ) from error


def _without_return(line: str, number: int, name: str) -> str:
    if not line.endswith("\r"):
        raise CacheError(
            "the line ends with a line feed alone, the first one with carriage return and line feed",
            where=f"{name}, line {number}",
            fix="end every line in the same way, with a line feed",
        )
    return line[:-1]


def _entry(line: str, where: str) -> tuple[str, float]:
    if not line.strip():
        raise CacheError("the line is blank", where=where, fix="remove it")
    tensor, separator, digits = line.rpartition(": ")
    if not separator:
        raise CacheError(
            f"no value in {line[:80]!r}", where=where, fix="an entry reads `tensor name: 3c010a14`"
        )
    if not tensor:
        raise CacheError(
            f"no tensor name before {line[:80]!r}", where=where, fix="an entry reads `tensor name: 3c010a14`"
        )
    if not _HEX.fullmatch(digits):
        raise CacheError(
            f"the value {digits[:40]!r} of tensor {tensor!r} is not one to eight hexadecimal digits",
            where=where,
            fix=_fix_of_digits(digits),
        )
    bits = int(digits, 16)
    if bits > _INFINITY:
        scale = struct.unpack("<f", struct.pack("<I", bits))[0]
        raise CacheError(
            f"the scale of tensor {tensor!r} is {scale}, but no scale is negative or NaN",
            where=where,
            fix=_fix_of_bits(bits),
        )
    return tensor, struct.unpack("<f", struct.pack("<I", bits))[0]


def _fix_of_digits(digits: str) -> str:
    """What to put in place of text that is not hexadecimal digits; plain numbers are what people write by hand."""
    if digits.endswith("\r"):
        return "end every line with a line feed alone"
    try:
        scale = float(digits)
        bits = _float_bits(scale)
    except (ValueError, OverflowError):
        return "write the bits of the float32 scale, as 3c010a14, or calibrate again"
    if not math.isfinite(scale) or scale <= 0:
        return (
            f"no scale is {digits}: calibrate again, or remove the line and let `check` say what that costs"
        )
    return (
        f"a cache holds the bits of the float32 scale (threshold / 127), not the number: {digits} is {bits:x} if it is "
        f"the scale, {_float_bits(scale / 127):x} if it is the threshold"
    )


def _fix_of_bits(bits: int) -> str:
    positive, swapped = bits & 0x7FFFFFFF, int.from_bytes(bits.to_bytes(4, "big"), "little")
    if positive > _INFINITY:
        return "NaN comes of a calibration that met NaN: calibrate again, or remove the line"
    about = struct.unpack("<f", struct.pack("<I", swapped))[0]
    turned = (
        f"; or its bytes are in the wrong order: {swapped:x} is {about:.6g}" if 1e-6 < about < 1e4 else ""
    )
    return f"calibrate again, or remove the line; without its sign the scale would be {positive:x}{turned}"


def _float_bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def check_name(tensor: str, where: str = "") -> str:
    """The name of a tensor, if a cache can hold it.

    Args:
        tensor: the name.
        where: the file that has it, for the message.

    Raises:
        CacheError: for a name that could not be read back.
    """
    if not tensor:
        raise CacheError("a tensor without a name cannot stand in a calibration cache", where=where)
    if any(mark in tensor for mark in "\n\r\0"):
        raise CacheError(
            f"the name of tensor {tensor!r} holds a line end or a NUL, which a calibration cache cannot hold",
            where=where,
            fix="rename the tensor in the model",
        )
    try:
        tensor.encode()
    except UnicodeEncodeError as error:
        raise CacheError(f"the name of tensor {tensor!r} is not valid Unicode text", where=where) from error
    return tensor


def _bits(tensor: str, scale: float) -> int:
    if math.isnan(scale) or math.copysign(1.0, scale) < 0:
        raise CacheError(f"the scale of tensor {tensor!r} is {scale}, but no scale is negative or NaN")
    try:
        bits: int = struct.unpack("<I", struct.pack("<f", scale))[0]
    except OverflowError as error:
        raise CacheError(f"the scale of tensor {tensor!r} is {scale}, which float32 cannot hold") from error
    if bits == 0 and scale:
        raise CacheError(f"the scale of tensor {tensor!r} is {scale}, which float32 cannot hold")
    return bits
