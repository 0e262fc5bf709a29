"""Tables of dynamic ranges for readers other than TensorRT: ONNX Runtime's two, and plain JSON.

A dynamic range is 127 * scale: the largest magnitude that INT8 represents.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CacheError
from onnx_trtcal.trt.cache_ops import dynamic_range

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ort_flatbuffers", "ort_json", "ranges_json"]

_LARGEST_FLOAT32 = math.ldexp(2 - 2**-23, 127)


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
