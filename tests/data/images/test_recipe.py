from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.images.recipe import make_recipe
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)


def recipe(shape=(1, 3, 224, 224), dtype=np.float32, **flags):
    spec = InputSpec("x", np.dtype(dtype), shape)
    return make_recipe(Preprocess(**flags), spec, feeding_of([spec]))


@pytest.mark.parametrize(
    ("shape", "flags", "words"),
    [
        ((1, 3, 224, 224), {}, "RGB, no resize, *1/255, NCHW"),
        (
            (1, 3, 224, 224),
            {"preset": "imagenet"},
            (
                "RGB, shorter side 256 (bilinear), centre crop 224x224, *1/255, "
                "-(0.485, 0.456, 0.406), /(0.229, 0.224, 0.225), NCHW"
            ),
        ),
        (
            ("N", 299, 299, 3),
            {"preset": "imagenet", "color": "bgr", "interpolation": "bicubic"},
            (
                "BGR, shorter side 342 (bicubic), centre crop 299x299, *1/255, "
                "-(0.406, 0.456, 0.485), /(0.225, 0.224, 0.229), NHWC"
            ),
        ),
        (
            ("N", 3, "H", "W"),
            {"preset": "imagenet", "size": (232, 232)},
            (
                "RGB, shorter side 232 (bilinear), centre crop 224x224, *1/255, "
                "-(0.485, 0.456, 0.406), /(0.229, 0.224, 0.225), NCHW"
            ),
        ),
        (
            ("N", 3, 32, 32),
            {"preset": "imagenet", "resize": "none", "std": (1.0,)},
            "RGB, no resize, *1/255, -(0.485, 0.456, 0.406), NCHW",
        ),
        ((1, 3, 24, 94), {"preset": "caffe"}, "BGR, no resize, *1, -(103.939, 116.779, 123.68), NCHW"),
        (
            (1, 3, 24, 94),
            {"preset": "caffe", "color": "rgb"},
            "RGB, no resize, *1, -(123.68, 116.779, 103.939), NCHW",
        ),
        (
            (1, 3, 320, 640),
            {"preset": "yolo"},
            "RGB, letterboxed to 320x640 on gray 114 (bilinear), *1/255, NCHW",
        ),
        ((1, 3, 24, 94), {"preset": "signed", "color": "bgr"}, "BGR, no resize, *1, -127.5, /127.5, NCHW"),
        ((1, 1, 28, 28), {"preset": "raw"}, "gray, no resize, *1, NCHW"),
        ((1, 3, 28, 40), {"resize": "stretch"}, "RGB, stretched to 28x40 (bilinear), *1/255, NCHW"),
        (
            (1, 3, 28, 40),
            {"resize": "shorter"},
            "RGB, smallest size covering 28x40 (bilinear), centre crop 28x40, *1/255, NCHW",
        ),
    ],
)
def test_words(shape, flags, words):
    assert recipe(shape, **flags).describe() == words


def test_words_of_a_uint8_model():
    assert (
        recipe((1, 28, 28, 3), np.uint8).describe()
        == "RGB, no resize, raw pixels 0..255 (the model takes uint8), NHWC"
    )


@pytest.mark.parametrize(
    ("shape", "layout", "color"),
    [
        (("N", 3, 8, 8), "nchw", "rgb"),
        (("N", 8, 8, 3), "nhwc", "rgb"),
        (("N", 49, 10, 1), "nhwc", "gray"),
        (("N", 1, 8, 8), "nchw", "gray"),
        (("N", 3, 3, 3), "nchw", "rgb"),
        (("N", "C", "H", "W"), "nchw", "rgb"),
        (("N", "H", "W", 3), "nhwc", "rgb"),
        (("N", 224, 224, None), "nhwc", "rgb"),
        (("N", 28, 28), "hw", "gray"),
        ((3, 224, 224), "nchw", "rgb"),
        ((224, 224, 3), "nhwc", "rgb"),
    ],
)
def test_layout_is_told_from_the_shape(shape, layout, color):
    made = recipe(shape)
    assert (made.layout, made.color) == (layout, color)


def test_an_asked_layout_wins():
    assert recipe(("N", 3, 8, 3), layout="nhwc").wanted == (3, 8)


@pytest.mark.parametrize("shape", [("N", 64), ("N", 7, 224, 224), ("N", 3, 4, 8, 8), ("N", 6, "H", "W")])
def test_inputs_that_take_no_picture(shape):
    with pytest.raises(DataError, match="does not look like an image"):
        recipe(shape)


@pytest.mark.parametrize(
    ("shape", "flags", "reason"),
    [
        ((1, 1, 8, 8), {"color": "rgb"}, "1 channels, a rgb image 3"),
        ((1, 4, 8, 8), {}, "4 channels"),
        ((1, 3, 8, 8), {"size": (8, 8)}, "without a way to get there"),
        ((1, 3, "H", "W"), {"resize": "stretch"}, "no size"),
        ((1, 3, "H", "W"), {"preset": "yolo"}, "no size"),
        ((1, 3, 8, 8), {"mean": (1.0, 2.0)}, "mean has 2 values"),
        ((1, 1, 8, 8), {"preset": "imagenet"}, "mean has 3 values, a gray image 1 channel"),
    ],
)
def test_contradictions(shape, flags, reason):
    with pytest.raises(OptionError, match=reason) as caught:
        recipe(shape, **flags)
    assert caught.value.fix


def test_numbers_do_not_apply_to_uint8_models():
    with pytest.raises(OptionError, match="uint8"):
        recipe((1, 3, 8, 8), np.uint8, mean=(1.0,))


def test_each_input_has_the_recipe_asked_for_it(tmp_path):
    pair = (InputSpec("rgb", FLOAT, (1, 3, 4, 4)), InputSpec("ir:0", FLOAT, (1, 1, 4, 4)))
    for folder in ("rgb", "ir_0"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4, 3), 100, np.uint8)).save(tmp_path / folder / "1.png")
    asked = Preprocess(
        preset="signed", per_input={"ir:0": Preprocess(scale=0.5), "rgb": Preprocess(preset="raw")}
    )
    source = open_source(tmp_path, pair, asked)
    (sample,) = source
    assert sample.arrays["rgb"].max() == 100
    assert sample.arrays["ir:0"].max() == np.float32((50 - 127.5) / 127.5)
    assert source.description[1:] == (
        "images for 'rgb': RGB, no resize, *1, NCHW",
        "images for 'ir:0': gray, no resize, *1/2, -127.5, /127.5, NCHW",
    )
    with pytest.raises(OptionError, match="given for 'rgp', and the model has no such input") as caught:
        open_source(tmp_path, pair, Preprocess(per_input={"rgp": Preprocess(scale=1)}))
    assert caught.value.fix == "did you mean 'rgb'?"
    for wrong in ({"rgb": "raw"}, {"rgb": Preprocess(per_input={"rgb": Preprocess()})}, ["rgb"]):
        with pytest.raises(OptionError, match="per_input"):
            Preprocess(per_input=wrong)


def test_one_of_several_image_inputs_without_items(tmp_path):
    inputs = [InputSpec(name, np.dtype(np.float32), ("n", 3, 8, 8)) for name in ("rgb", "depth")]
    for spec in inputs:
        (tmp_path / spec.name).mkdir()
        for number in range(2):
            Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(tmp_path / spec.name / f"{number}.png")
    source = open_source(str(tmp_path), inputs, item_axis=["rgb=none"])
    (first, second) = source
    assert first.arrays["rgb"].shape == (1, 3, 8, 8) and second.arrays["rgb"].max() > 0
