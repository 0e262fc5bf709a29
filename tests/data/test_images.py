from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.images import decode, load_image
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.data.recipe import make_recipe
from onnx_trtcal.errors import DataError
from onnx_trtcal.inputs import InputSpec
from onnx_trtcal.options import Preprocess

RANDOM = np.random.default_rng(7)
# Smooth, so that lossy formats stay close; every channel and direction differs, so that nothing can be swapped.
ROWS, COLUMNS = np.mgrid[0:30, 0:40]
PIXELS = np.stack([ROWS * 8, COLUMNS * 6, 255 - ROWS * 4 - COLUMNS * 3], axis=-1).astype(np.uint8)
NOISE = RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def save(path, pixels=PIXELS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def fed(path, shape, dtype=np.float32, **flags):
    spec = InputSpec("x", np.dtype(dtype), shape)
    return load_image(path, make_recipe(Preprocess(**flags), spec, feeding_of([spec])), path.name)


def pixels_of(path, color="rgb"):
    return np.asarray(decode(path, color, path.name)).astype(int)


@pytest.mark.parametrize(
    ("suffix", "options", "close"),
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("ppm", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("jpg", {"quality": 95}, 10),
        ("webp", {"quality": 95}, 14),
    ],
)
def test_formats(tmp_path, suffix, options, close):
    got = pixels_of(save(tmp_path / f"a.{suffix}", **options))
    assert np.abs(got - PIXELS).max() <= close


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (50, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (pixels_of(tmp_path / "a.gif") == 50).all()


def test_palette_with_graded_transparency_without_a_warning(tmp_path):
    image = Image.fromarray(PIXELS).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes(range(0, 256, 16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = pixels_of(tmp_path / "a.png")
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack([PIXELS, ROWS.astype(np.uint8)])
    np.testing.assert_array_equal(pixels_of(save(tmp_path / "a.png", rgba)), PIXELS)
    la = np.dstack([PIXELS[..., 0], ROWS.astype(np.uint8)])
    np.testing.assert_array_equal(pixels_of(save(tmp_path / "b.png", la), "gray"), PIXELS[..., 0])


def test_sixteen_bits_keep_the_high_byte(tmp_path):
    deep = (RANDOM.integers(0, 65536, (9, 7))).astype(np.uint16)
    for suffix in ("png", "tiff"):
        np.testing.assert_array_equal(pixels_of(save(tmp_path / f"a.{suffix}", deep), "gray"), deep // 256)
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "a.png"), np.repeat((deep // 256)[..., None], 3, axis=2)
    )


def test_cmyk(tmp_path):
    cmyk = np.dstack([255 - PIXELS, np.zeros_like(PIXELS[..., 0])])
    Image.frombytes("CMYK", (40, 30), cmyk.tobytes()).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tiff"), PIXELS)


def test_one_bit(tmp_path):
    bits = PIXELS[..., 0] > 100
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png", "gray"), bits * 255)


def test_gray_weights(tmp_path):
    wanted = PIXELS @ np.array([0.299, 0.587, 0.114])
    got = pixels_of(save(tmp_path / "a.png"), "gray")
    assert np.abs(got - wanted).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_turns_are_undone(tmp_path, orientation):
    # What a camera stores for each value of the tag, written as array operations (EXIF 2.32, tag 274).
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation](PIXELS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(
        pixels_of(save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)), PIXELS
    )


@pytest.mark.parametrize("mode", ["F", "I"])
def test_thirty_two_bits_have_no_range(tmp_path, mode):
    Image.fromarray(ROWS.astype(np.float32 if mode == "F" else np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="32 bits") as caught:
        decode(tmp_path / "a.tiff", "gray", "a.tiff")
    assert caught.value.where == "a.tiff"


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif", "tiff"])
def test_truncated_images_are_named(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", NOISE)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        decode(path, "rgb", path.name)
    assert caught.value.where == path.name


def test_no_image_and_no_file(tmp_path):
    (tmp_path / "a.png").write_text("labels")
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(tmp_path / "a.png", "rgb", "a.png")
    with pytest.raises(DataError, match="gone"):
        decode(tmp_path / "b.png", "rgb", "b.png")


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
