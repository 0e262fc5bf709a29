"""Build logs: each line that matters, in the ways that TensorRT's releases write it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import DataError
from onnx_trtcal.trt.build_log import parse_log, read_log

if TYPE_CHECKING:
    from pathlib import Path

VERBOSE = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=m.onnx --int8 --calib=m.cache --verbose
[01/02/2024-03:04:05] [I] TensorRT version: 8001
[01/02/2024-03:04:05] [V] [TRT] Adding network input: data with dtype: float32, dimensions: (-1, 3, 8, 8)
[01/02/2024-03:04:05] [V] [TRT] Registering tensor: data for ONNX tensor: data
[01/02/2024-03:04:05] [V] [TRT] Constant_0 [Constant] outputs: [stored -> (4)[FLOAT]], 
[01/02/2024-03:04:05] [V] [TRT] Registering tensor: shape for ONNX tensor: shape
[01/02/2024-03:04:05] [V] [TRT] Shape_1 [Shape] outputs: [shape -> (4)[INT32]], 
[01/02/2024-03:04:05] [V] [TRT] Registering tensor: a [0], b for ONNX tensor: a [0], b
[01/02/2024-03:04:05] [V] [TRT] Registering tensor: half for ONNX tensor: half
[01/02/2024-03:04:05] [V] [TRT] Split_2 [Split] outputs: [a [0], b -> (1, 4, 8, -1)[FLOAT]], [half -> ()[HALF]], 
[01/02/2024-03:04:05] [V] [TRT] Registering tensor: out_7 for ONNX tensor: out
[01/02/2024-03:04:05] [V] [TRT] Relu_3 [Relu] outputs: [out -> (1, 4, 8, 8)[FLOAT]], 
[01/02/2024-03:04:05] [V] [TRT] Marking out_7 as output: out
[01/02/2024-03:04:05] [V] [TRT] ConstShuffleFusion: Fusing slope with (Unnamed Layer* 12) [Shuffle]
[01/02/2024-03:04:05] [V] [TRT] ConstShuffleFusion: Fusing offset with ONNXTRT_Broadcast_3
[01/02/2024-03:04:05] [I] [TRT] Reading Calibration Cache for calibrator: EntropyCalibration2
""".splitlines()

SCALE = (
    "{} INT8 Inference Tensor scales and zero-points: {} scale and zero-point "
    "Quantization(scale: {{{},}}, zero-point: {{{}}})"
)
MISSING = (
    "{} Missing {} for tensor {}, expect fall back to non-int8 implementation for any layer consuming or producing "
    "given tensor"
)


PIECES = (
    *(
        " [X] outputs: [",
        "a -> (",
        "1)[FLOAT]]",
        "Registering tensor: ",
        " for ONNX tensor: ",
        "Marking ",
        "a",
    ),
    *(
        " as output: ",
        "ConstShuffleFusion: Fusing ",
        " with ",
        "INT8 Inference Tensor scales: ",
        " scale: 1.2.3",
    ),
    *(
        "Rejecting some int8 implementation of layer ",
        " due to missing int8 scales for tensor ",
        " at input index 0",
    ),
    *(
        "Missing dynamic range for tensor ",
        ", expect fallback",
        "Adding network input: ",
        " with dtype: float32",
    ),
    *(", dimensions: ", " scale: 0.5", "[TensorRT v8001]"),
)


def test_network() -> None:
    log = parse_log(VERBOSE)
    assert log.version == "8001"
    assert dict(log.types) == {
        "data": "float32",
        "shape": "INT32",
        "a [0], b": "FLOAT",
        "half": "HALF",
        "out": "FLOAT",
    }
    assert log.floats == ("data", "a [0], b", "half", "out")
    assert log.cache_read
    assert not log.cache_refused


def test_constants() -> None:
    assert dict(parse_log(VERBOSE).constants) == {
        "(Unnamed Layer* 12) [Shuffle]_output": "slope",
        "(Unnamed Layer* 11) [Constant]_output": "slope",
        "ONNXTRT_Broadcast_3_output": "offset",
        "offset_output": "offset",
    }


@pytest.mark.parametrize(
    ("line", "name", "scale"),
    [
        (
            SCALE.format("[V] [TRT]", "x", "0.00787594", ""),
            "x",
            0.00787594,
        ),
        (
            SCALE.format("[TRT] [V]", "in:0", "1.5e-05", "0,"),
            "in:0",
            1.5e-5,
        ),
        ("[TensorRT] VERBOSE: INT8 Inference Tensor Scales: my scale scale: 0.5", "my scale", 0.5),
        (
            SCALE.format("[V]", "(Unnamed Layer* 3) [Constant]_output", "inf", "") + "\r",
            "(Unnamed Layer* 3) [Constant]_output",
            float("inf"),
        ),
    ],
)
def test_scales(line: str, name: str, scale: float) -> None:
    assert dict(parse_log([line]).scales) == {name: scale}


def test_what_the_builder_lacks() -> None:
    reject = "Rejecting some int8 implementation of layer {} due to missing int8 scales for tensor {} at {} index 0"
    log = parse_log(
        [
            "[V] [TRT] " + reject.format("PWN(s + (Unnamed Layer* 12) [Shuffle], PRelu_1)", "a b", "input"),
            "[V] [TRT] " + reject.format("Conv_2", "a b", "output"),
            "[V] [TRT] " + reject.format("Conv_2", "a b", "output"),
            MISSING.format("[W] [TRT]", "scale and zero-point", "w_output"),
            MISSING.format("[TensorRT] WARNING:", "dynamic range", "(Unnamed Layer* 9) [Shuffle]_output"),
        ]
    )
    assert dict(log.rejected) == {"a b": ("PWN(s + (Unnamed Layer* 12) [Shuffle], PRelu_1)", "Conv_2")}
    assert log.missing == ("w_output", "(Unnamed Layer* 9) [Shuffle]_output")
    assert log.lacking == ("a b", *log.missing)


def test_a_tensor_named_like_a_message() -> None:
    lines = [
        "[V] [TRT] Registering tensor: due to missing int8 for ONNX tensor: due to missing int8",
        "[V] [TRT] N [Relu] outputs: [due to missing int8 -> (1)[FLOAT]], ",
    ]
    assert parse_log(lines).floats == ("due to missing int8",)


def test_refused_cache() -> None:
    line = "[E] [TRT] Calibration table does not match calibrator algorithm type."
    assert parse_log([line]).cache_refused


def test_no_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"hello\n\xff\n")
    with pytest.raises(DataError, match="says nothing") as caught:
        read_log(path)
    assert caught.value.where == str(path)
    assert "--verbose" in caught.value.fix
    with pytest.raises(DataError, match="cannot read"):
        read_log(tmp_path / "absent.log")


@pytest.mark.parametrize(
    "piece",
    [
        " [X] outputs: [[a -> ([a -> (",
        " [X] outputs: ",
        "Registering tensor: a for ONNX tensor: ",
        "Adding network input: a with dtype: ",
        "Marking a as output: ",
        "ConstShuffleFusion: Fusing a with ",
        "INT8 Inference Tensor scales: x scale: ",
        "Rejecting some int8 implementation of layer a due to missing int8 scales for tensor a at input index ",
        "Missing dynamic range for tensor a, expect fall",
        "TensorRT version: 1.",
    ],
)
def test_a_line_of_any_length_is_read(piece: str) -> None:
    """With a pattern that needs time quadratic in the length of a line, this test would take an hour."""
    with suppress(DataError):
        parse_log([piece * 100_000])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_line_is_read_or_ignored(line: str) -> None:
    with suppress(DataError):
        parse_log([line])
