from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.images.decode import decode
from onnx_trtcal.errors import DataError

RANDOM = np.random.default_rng(7)
# Smooth, so that lossy formats stay close; every channel and direction differs, so that nothing can be swapped.
ROWS, COLUMNS = np.mgrid[0:30, 0:40]
PIXELS = np.stack([ROWS * 8, COLUMNS * 6, 255 - ROWS * 4 - COLUMNS * 3], axis=-1).astype(np.uint8)
NOISE = RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def save(path, pixels=PIXELS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


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


def test_sixteen_bit_colour_keeps_the_high_byte_too(tmp_path):
    deep = RANDOM.integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in deep)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), deep // 256)


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
