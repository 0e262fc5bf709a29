"""Options as flags: what they are parsed to again."""

from __future__ import annotations

import shlex

import pytest

from onnx_trtcal import Options, Preprocess, QdqOptions
from onnx_trtcal.cli import parser_for
from onnx_trtcal.cli.flags import options_from, qdq_from
from onnx_trtcal.report.command_text import data_flags, flags_text, quantize_text

PER_INPUT = Preprocess(per_input={"ir=x": Preprocess(color="gray", mean=(0.5,))})


@pytest.mark.parametrize(
    ("options", "qdq"),
    [
        (Options(), QdqOptions()),
        (Options(method="percentile:99.9", method_for=("Conv=mse", "*/head/*=minmax")), QdqOptions()),
        (Options(preprocess=Preprocess(preset="imagenet", crop=(224, 192), resize="shorter")), QdqOptions()),
        (Options(preprocess=Preprocess(scale=1 / 255, mean=(-0.5, 0.1, 0.25))), QdqOptions()),
        (Options(preprocess=PER_INPUT), QdqOptions()),
        (Options(until_stable=0.015, item_axis=("x=1",), trt_version="8.6.1"), QdqOptions()),
        (
            Options(method="auto", provider="cpu", max_samples=7),
            QdqOptions(exclude=("-odd", "a b", "*"), attention="int8", share_concat=False, gemv=True),
        ),
        (Options(), QdqOptions(round=True, equalize="full", weight_bits=7, high_precision="fp16", opset=19)),
    ],
)
def test_flags_are_parsed_to_the_options_they_came_from(options: Options, qdq: QdqOptions) -> None:
    line = quantize_text("model one.onnx", ["a b/", "c.npy"], options, qdq, "out.onnx")
    words = shlex.split(line)
    assert words[:3] == ["onnx-trtcal", "quantize", "model one.onnx"]
    args = parser_for("quantize").parse_intermixed_args(words[2:])
    assert (args.model, args.data, args.output) == ("model one.onnx", ["a b/", "c.npy"], "out.onnx")
    assert (options_from(args), qdq_from(args)) == (options, qdq)


def test_defaults_and_what_no_result_depends_on_need_no_flag() -> None:
    options = Options(threads=2, memory_limit=1 << 30, check_samples=2, budget=10.0)
    assert flags_text(options, QdqOptions()) == []


def test_what_feeds_the_data_alike_is_told_and_nothing_else() -> None:
    images = Preprocess(preset="yolo", per_input={"ir": Preprocess(color="gray")})
    options = Options(
        method="mse", max_samples=7, item_axis=("x=1",), ort_custom_ops=("lib.so",), preprocess=images
    )
    assert data_flags(options) == [
        *("--item-axis", "x=1", "--ort-custom-ops", "lib.so"),
        *("--preset", "yolo", "--color", "ir=gray"),
    ]
    assert data_flags(Options(method="mse", batch_size=3)) == []
