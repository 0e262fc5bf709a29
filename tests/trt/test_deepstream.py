"""nvinfer's keys: y = net-scale-factor * (x - offset) has to be what calibration fed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnx_trtcal.data.images.recipe import Recipe, make_recipe
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec
from onnx_trtcal.trt.deepstream import ImageInput, nvinfer_lines

SPEC = InputSpec("x", np.dtype("f4"), ("n", 3, 64, 96))


def recipe(**asked: object) -> Recipe:
    return make_recipe(Preprocess(**asked), SPEC, feeding_of([SPEC]))  # type: ignore[arg-type]


def lines(made: Recipe | None, **changes: object) -> list[str]:
    image = ImageInput(made, "it is not known", (3, 64, 96), channels_last=False, batch=4)
    return nvinfer_lines("m.onnx", "m.cache", replace(image, **changes))  # type: ignore[arg-type]


def keys(said: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in said if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"preset": "signed"},
        {"preset": "raw"},
        {"preset": "caffe"},
        {"scale": 1 / 128, "mean": (0.5, 0.25, 1.0), "std": (2.0,)},
        {"mean": (0.3,), "std": (0.7, 0.7, 0.7), "color": "bgr"},
    ],
)
def test_the_same_numbers_come_of_a_pixel(asked: dict[str, object]) -> None:
    made = recipe(**asked)
    found = keys(lines(made))
    pixels = np.array([[0.0, 17.0, 255.0]] * 3)
    offsets = np.array([float(each) for each in found.get("offsets", "0;0;0").split(";")])
    got = float(found["net-scale-factor"]) * (pixels - offsets[:, None])
    mean, std = (np.broadcast_to(each, 3)[:, None] for each in (made.mean, made.std))
    np.testing.assert_allclose(got, (pixels * made.scale - mean) / std, rtol=1e-6, atol=1e-6)
    assert found["model-color-format"] == {"rgb": "0", "bgr": "1"}[made.color]


def test_what_an_engine_needs_comes_first() -> None:
    assert lines(recipe())[:7] == [
        "[property]",
        "onnx-file=m.onnx",
        "int8-calib-file=m.cache",
        "network-mode=1",
        "batch-size=4",
        "infer-dims=3;64;96",
        "network-input-order=0",
    ]
    assert keys(lines(recipe(), channels_last=True))["network-input-order"] == "1"


def test_a_std_by_channel_is_not_rounded_to_one_factor() -> None:
    said = lines(recipe(preset="imagenet"))
    assert "net-scale-factor" not in keys(said)
    assert any("nvinfer has one factor" in line and "0.229, 0.224, 0.225" in line for line in said)
    assert keys(said)["offsets"] == "123.675;116.28;103.53"
    assert any("does not crop" in line for line in said) and any("shorter side" in line for line in said)


def test_a_letterbox_is_centred_and_black_there() -> None:
    said = lines(recipe(preset="yolo"))
    assert keys(said)["maintain-aspect-ratio"] == keys(said)["symmetric-padding"] == "1"
    assert any("gray 114" in line for line in said)
    assert not any("gray" in line for line in lines(recipe(preset="yolo", pad_value=0.0)))


def test_what_is_not_known_is_a_comment() -> None:
    said = lines(None, dims=(3, None, 96))
    assert not keys(said).keys() & {"net-scale-factor", "offsets", "model-color-format", "infer-dims"}
    assert any(line.startswith("# infer-dims") for line in said)
    assert any(line.endswith("it is not known") for line in said)
    image = ImageInput(None, "no image", (), channels_last=False, batch=None)
    more = nvinfer_lines("m", "c", image, ["state", "mask"])
    assert "state, mask" in more[-1] and "batch-size" not in keys(more)
