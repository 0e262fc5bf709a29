from __future__ import annotations

import pytest

from onnx_trtcal.support.ort_message import plain_message


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions", "Got invalid dimensions"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /build/core/graph/model.cc:146 no opset\n  import",
            "no opset import",
        ),
        ("  a message\nof two lines ", "a message of two lines"),
        ("", ""),
        ("word " * 99, "word " * 59 + "wo..."),
    ],
)
def test_codes_places_and_line_ends_are_left_out(message: str, plain: str) -> None:
    assert plain_message(message) == plain
