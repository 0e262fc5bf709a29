from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.images.recipe import make_recipe
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.errors import DataError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

RANDOM = np.random.default_rng(7)
# Every channel and direction differs, so that nothing can be swapped unseen.
ROWS, COLUMNS = np.mgrid[0:30, 0:40]
PIXELS = np.stack([ROWS * 8, COLUMNS * 6, 255 - ROWS * 4 - COLUMNS * 3], axis=-1).astype(np.uint8)
NOISE = RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def save(path, pixels=PIXELS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def fed(path, shape, dtype=np.float32, **flags):
    spec = InputSpec("x", np.dtype(dtype), shape)
    return load_image(path, make_recipe(Preprocess(**flags), spec, feeding_of([spec])), path.name).array


def test_defaults_scale_to_one(tmp_path):
    got = fed(save(tmp_path / "a.png"), ("N", 3, 30, 40))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, (PIXELS * np.float32(1 / 255)).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(1, 3, 30, 40), ("N", 30, 40, 3)])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_numbers_per_channel(tmp_path, shape, color):
    scale, mean, std = 0.5, (10.0, 20.0, 30.0), (2.0, 3.0, 4.0)
    got = fed(save(tmp_path / "a.png"), shape, color=color, scale=scale, mean=mean, std=std)
    wanted = np.empty((30, 40, 3), np.float64)
    for channel in range(3):
        source = PIXELS[..., channel if color == "rgb" else 2 - channel].astype(np.float64)
        wanted[..., channel] = (source * scale - mean[channel]) / std[channel]
    np.testing.assert_allclose(
        got, wanted if shape[-1] == 3 else wanted.transpose(2, 0, 1), rtol=1e-6, atol=1e-5
    )


def test_gray_and_no_channel_axis(tmp_path):
    gray = save(tmp_path / "a.png", PIXELS[..., 0])
    wanted = PIXELS[..., 0] * np.float32(1 / 255)
    np.testing.assert_array_equal(fed(gray, (1, 1, 30, 40)), wanted[None])
    np.testing.assert_array_equal(fed(gray, (1, 30, 40, 1)), wanted[..., None])
    np.testing.assert_array_equal(fed(gray, ("N", 30, 40)), wanted)


def test_uint8_models_get_raw_pixels_whatever_the_preset(tmp_path):
    for flags in ({}, {"preset": "signed"}):
        got = fed(save(tmp_path / "a.png"), (1, 30, 40, 3), np.uint8, **flags)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, PIXELS)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_stretch(tmp_path, interpolation):
    got = fed(
        save(tmp_path / "a.png"), (1, 3, 16, 24), resize="stretch", interpolation=interpolation, scale=1
    )
    wanted = Image.fromarray(PIXELS).resize((24, 16), getattr(Image.Resampling, interpolation.upper()))
    np.testing.assert_array_equal(got, np.asarray(wanted).transpose(2, 0, 1))


@pytest.mark.parametrize("portrait", [False, True])
def test_shorter_side_then_centre_crop(tmp_path, portrait):
    pixels = NOISE.swapaxes(0, 1).copy() if portrait else NOISE
    got = fed(
        save(tmp_path / "a.png", pixels),
        (1, 3, 16, 16),
        resize="shorter",
        size=(20, 20),
        crop=(16, 16),
        scale=1,
    )
    long = 20 * 53 // 37
    width, height = (20, long) if portrait else (long, 20)
    sized = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    top, left = round((height - 16) / 2), round((width - 16) / 2)
    np.testing.assert_array_equal(got, sized[top : top + 16, left : left + 16].transpose(2, 0, 1))


def test_shorter_covers_a_size_that_is_not_square_and_crops_to_the_model(tmp_path):
    got = fed(save(tmp_path / "a.png", NOISE), (1, 3, 20, 40), resize="shorter", scale=1)
    height = 40 * 37 // 53
    sized = np.asarray(Image.fromarray(NOISE).resize((40, height), Image.Resampling.BILINEAR))
    top = round((height - 20) / 2)
    np.testing.assert_array_equal(got, sized[top : top + 20].transpose(2, 0, 1))


def test_shorter_with_a_fixed_height_only_keeps_the_aspect(tmp_path):
    got = fed(save(tmp_path / "a.png", NOISE), ("N", 3, 20, "W"), resize="shorter")
    assert got.shape == (3, 20, 20 * 53 // 37)


@pytest.mark.parametrize("portrait", [False, True])
def test_letterbox(tmp_path, portrait):
    pixels = NOISE.swapaxes(0, 1).copy() if portrait else NOISE
    got = fed(save(tmp_path / "a.png", pixels), (1, 3, 64, 64), resize="letterbox", pad_value=9, scale=1)
    short = round(37 * 64 / 53)
    size = (short, 64) if portrait else (64, short)
    wanted = np.full((64, 64, 3), 9, np.uint8)
    offset = (64 - short) // 2
    inside = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    if portrait:
        wanted[:, offset : offset + short] = inside
    else:
        wanted[offset : offset + short] = inside
    np.testing.assert_array_equal(got, wanted.transpose(2, 0, 1))


def test_a_size_that_differs_names_the_flags(tmp_path):
    with pytest.raises(DataError, match=r"30x40 \(height x width\), the model wants 32x32") as caught:
        fed(save(tmp_path / "a.png"), (1, 3, 32, 32))
    assert "--resize" in caught.value.fix
    assert "--preset" in caught.value.fix
    assert caught.value.where == "a.png"
    with pytest.raises(DataError, match="smaller than the crop of 32x32"):
        fed(tmp_path / "a.png", (1, 3, 32, 32), crop=(32, 32))
    with pytest.raises(DataError, match="after RGB, stretched to 16x16"):
        fed(tmp_path / "a.png", (1, 3, 32, 32), resize="stretch", size=(16, 16))


def test_dynamic_sizes_take_images_as_they_are(tmp_path):
    assert fed(save(tmp_path / "a.png"), (1, 3, "H", "W")).shape == (3, 30, 40)
