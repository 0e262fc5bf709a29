"""Scales as the tables that others read: TensorRT's cache, ONNX Runtime's two tables, dynamic ranges in JSON.

All but TensorRT's own hold a tensor's dynamic range (127 * scale, the largest magnitude kept), not its scale.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnx_trtcal.errors import CacheError, OptionError, did_you_mean
from onnx_trtcal.trt.cache import Cache, dumps
from onnx_trtcal.trt.cache_ops import dynamic_range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "FORMATS",
    "TableFormat",
    "names_with_colon",
    "ort_flatbuffers",
    "ort_json",
    "ranges_json",
    "render",
    "table_paths",
]

# Format name -> the usual end of its file's name.
TableFormat = Literal["trt", "ort-flatbuffers", "ort-json", "ranges-json"]
FORMATS: Mapping[TableFormat, str] = {
    "trt": ".calibration.cache",
    "ort-flatbuffers": ".flatbuffers",
    "ort-json": ".ort.json",
    "ranges-json": ".ranges.json",
}

_LARGEST_FLOAT32 = math.ldexp(2 - 2**-23, 127)


def render(form: TableFormat, scales: Mapping[str, float], header: str) -> bytes:
    """The file of one of FORMATS.

    Args:
        form: the format's name.
        scales: tensor name to scale, in the order to write (the flatbuffers table sorts them itself).
        header: the first line of a TensorRT cache; the other formats have no place for it.

    Raises:
        OptionError: when there is no such format.
        CacheError: when a name or a scale has no place in it.
    """
    _check_format(form)
    if form == "trt":
        return dumps(Cache(header, scales))
    writers: Mapping[TableFormat, Callable[[Mapping[str, float]], bytes]] = {
        "ort-flatbuffers": ort_flatbuffers,
        "ort-json": ort_json,
        "ranges-json": ranges_json,
    }
    return writers[form](scales)


def table_paths(output: str | Path, forms: Sequence[TableFormat]) -> dict[TableFormat, Path]:
    """Which file each format goes to.

    A single format goes to `output` itself. Of several, TensorRT's cache does, and the others go beside it,
    with the end of `output` that is the cache's usual one, or else its last suffix, replaced by their own.

    Raises:
        OptionError: when there is no such format, or two of them would be one file.
    """
    target = Path(output)
    forms = list(dict.fromkeys(forms))
    for form in forms:
        _check_format(form)
    if len(forms) == 1:
        return {forms[0]: target}
    usual = FORMATS["trt"]
    stem = target.name.removesuffix(usual) if target.name.endswith(usual) else target.stem
    paths = {form: target if form == "trt" else target.with_name(stem + FORMATS[form]) for form in forms}
    if len(set(paths.values())) < len(paths):
        raise OptionError(
            f"two of the formats {', '.join(forms)} would be written to the same file, {target}",
            fix=f"end --output in {usual}",
        )
    return paths


def ort_flatbuffers(scales: Mapping[str, float]) -> bytes:
    """The table that ONNX Runtime's TensorRT provider reads (trt_int8_use_native_calibration_table off).

    Two flatbuffers tables: TrtTable { dict: [KeyValue] } and KeyValue { key: string; value: string }, where
    value is the dynamic range in decimal. The bytes are those of onnxruntime.quantization's
    write_calibration_table.

    Raises:
        CacheError: for a scale whose dynamic range is not finite.
    """
    import flatbuffers

    ranges = _ranges(scales)
    builder = flatbuffers.Builder(1024)
    pairs = []
    for name in sorted(ranges):
        key, value = builder.CreateString(name), builder.CreateString(str(ranges[name]))
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, key, 0)
        builder.PrependUOffsetTRelativeSlot(1, value, 0)
        pairs.append(builder.EndObject())
    builder.StartVector(4, len(pairs), 4)
    for pair in pairs:
        builder.PrependUOffsetTRelative(pair)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def ort_json(scales: Mapping[str, float]) -> bytes:
    """The calibration.json of ONNX Runtime's write_calibration_table: a TensorData of ±range per tensor.

    Raises:
        CacheError: for a scale whose dynamic range is not finite.
    """

    def array(value: float) -> dict[str, object]:
        return {"data": value, "dtype": "float32", "CLS": "numpy.array"}

    tables = {
        name: {"lowest": array(-largest), "highest": array(largest), "CLS": "TensorData"}
        for name, largest in _ranges(scales).items()
    }
    return json.dumps(tables).encode()


def ranges_json(scales: Mapping[str, float]) -> bytes:
    """A JSON object of tensor name to dynamic range, for code that calls ITensor::setDynamicRange.

    Raises:
        CacheError: for a scale whose dynamic range is not finite.
    """
    return (json.dumps(_ranges(scales), indent=2) + "\n").encode()


def names_with_colon(names: Mapping[str, float]) -> tuple[str, ...]:
    """The names that ONNX Runtime cannot find in TensorRT's own cache: it splits a line at its first colon.

    (TensorrtExecutionProvider with trt_int8_use_native_calibration_table; TensorRT itself reads them well.)
    """
    return tuple(name for name in names if ":" in name)


def _check_format(form: str) -> None:
    if form not in FORMATS:
        raise OptionError(
            f"{form!r} is no table format",
            fix=did_you_mean(form, FORMATS) or f"take one of {', '.join(FORMATS)}",
        )


def _ranges(scales: Mapping[str, float]) -> dict[str, float]:
    ranges = {}
    for name, scale in scales.items():
        largest = dynamic_range(scale)
        if not 0 <= largest <= _LARGEST_FLOAT32:
            raise CacheError(
                f"the dynamic range of tensor {name!r} is {largest}, which this table cannot hold",
                fix="calibrate the tensor again, or write TensorRT's own cache",
            )
        ranges[name] = struct.unpack("<f", struct.pack("<f", largest))[0]
    return ranges
