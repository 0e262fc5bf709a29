"""Tables for others: byte for byte what ONNX Runtime writes, and read back by its own reader."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest

from onnx_trtcal.errors import CacheError, OptionError
from onnx_trtcal.trt.cache import loads
from onnx_trtcal.trt.table_writers import ort_flatbuffers, ort_json, ranges_json
from onnx_trtcal.trt.tables import TABLES, TableFormat, names_with_colon, render

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "TRT-100300-EntropyCalibration2"
SCALES = {
    name: float(np.float32(amax / 127))
    for name, amax in {"z": 1.0, "input_1:0": 255.0, "a b": 6.33, "größe": 1e-6, "none": 0.0}.items()
}
RANGES = {name: float(np.float32(127 * scale)) for name, scale in SCALES.items()}


@pytest.fixture(scope="module")
def by_onnxruntime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onnxruntime.quantization import write_calibration_table
    from onnxruntime.quantization.calibrate import TensorData

    folder = tmp_path_factory.mktemp("ort")
    values = {
        name: (np.array(-value, np.float32), np.array(value, np.float32)) for name, value in RANGES.items()
    }
    write_calibration_table(
        {k: TensorData(lowest=v[0], highest=v[1]) for k, v in values.items()}, str(folder)
    )
    return folder


def test_same_bytes_as_onnxruntime(by_onnxruntime: Path) -> None:
    assert ort_flatbuffers(SCALES) == (by_onnxruntime / "calibration.flatbuffers").read_bytes()
    assert ort_json(SCALES) == (by_onnxruntime / "calibration.json").read_bytes()


def test_onnxruntime_reads_the_flatbuffers() -> None:
    from onnxruntime.quantization.CalTableFlatBuffers.TrtTable import TrtTable

    table = TrtTable.GetRootAs(ort_flatbuffers(SCALES), 0)
    pairs = [table.Dict(index) for index in range(table.DictLength())]
    assert {pair.Key().decode(): float(pair.Value()) for pair in pairs} == RANGES


def test_empty_flatbuffers_table() -> None:
    from onnxruntime.quantization.CalTableFlatBuffers.TrtTable import TrtTable

    assert TrtTable.GetRootAs(ort_flatbuffers({}), 0).DictLength() == 0


def test_ranges_json() -> None:
    assert json.loads(ranges_json(SCALES)) == RANGES
    assert list(json.loads(ranges_json(SCALES))) == list(SCALES)


def test_render() -> None:
    assert tuple(TABLES) == get_args(TableFormat)
    assert dict(loads(render("trt", SCALES, HEADER)).scales) == SCALES
    written = {form: render(form, SCALES, HEADER) for form in TABLES}
    assert written["ort-flatbuffers"] == ort_flatbuffers(SCALES)
    assert written["ort-json"] == ort_json(SCALES)
    assert written["ranges-json"] == ranges_json(SCALES)
    with pytest.raises(OptionError, match="not a table format") as caught:
        render("ort-jsn", SCALES, HEADER)
    assert "ort-json" in caught.value.fix


@pytest.mark.parametrize("scale", [math.inf, math.nan, -1.0, 3e38])
@pytest.mark.parametrize("form", [form for form in TABLES if form != "trt"])
def test_range_that_is_none_is_refused(form: str, scale: float) -> None:
    with pytest.raises(CacheError, match="'bad'"):
        render(form, {"fine": 1.0, "bad": scale}, HEADER)


def test_names_that_onnxruntime_would_split() -> None:
    assert names_with_colon(SCALES) == ("input_1:0",)
