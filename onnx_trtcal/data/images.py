"""Image files decoded and preprocessed as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.recipe import Recipe
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decode", "load_image", "preprocess"]

_GEOMETRY = (
    "pass --resize stretch, shorter or letterbox, or a --preset such as imagenet or yolo: "
    "the one the model was trained with"
)


def load_image(path: Path, recipe: Recipe, where: str) -> np.ndarray:
    """The array that the model takes for an image file, without a batch axis.

    Raises:
        DataError: when the file cannot be decoded, or the result is not of the model's size.
    """
    return preprocess(decode(path, recipe.color, where), recipe, where)


def decode(path: Path, color: str, where: str) -> Image:
    """The first frame, upright, in mode `L` for gray and `RGB` otherwise.

    16-bit gray is cut to its high byte, as Pillow and OpenCV do for 16-bit colour; alpha is dropped, as they
    do; a palette is looked up; CMYK is converted; EXIF orientation is applied.

    Raises:
        DataError: when the file is damaged, no image, or of a kind without an agreed range of values.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
            if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
                pixels = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif mode in ("I", "F"):
                raise DataError(
                    f"the image has {mode} pixels of 32 bits, whose range is anyone's guess",
                    where=where,
                    fix="convert it to 8 bits, or to a .npy file with the values the model takes",
                )
            else:
                pixels = _plain(image)
            turned = _upright(pixels, _orientation(image))
            return turned.convert("L" if color == "gray" else "RGB")
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            "the file is gone", where=where, fix="keep the data in place during the run"
        ) from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise DataError(
            f"the image cannot be decoded: {error}",
            where=where,
            fix="repair the file or take it out of the data",
        ) from error


def preprocess(image: Image, recipe: Recipe, where: str) -> np.ndarray:
    """Resize, crop, `(pixel * scale - mean) / std` in float32, layout.

    Args:
        image: of mode `L` where the recipe says gray, else `RGB`.
        recipe: what to do.
        where: the file, for messages.

    Returns:
        float32 (uint8 for a raw recipe), shape CxHxW, HxWxC or HxW.

    Raises:
        DataError: when the image is smaller than the crop, or the result is not of the model's size.
    """
    sized = _crop(_resize(image, recipe), recipe, where)
    for size, wanted in zip((sized.height, sized.width), recipe.wanted, strict=True):
        if wanted is not None and size != wanted:
            height, width = ("any" if side is None else side for side in recipe.wanted)
            done = "" if sized.size == image.size else f" after {recipe.words()}"
            raise DataError(
                f"the image is {sized.height}x{sized.width} (height x width){done}, "
                f"the model wants {height}x{width}",
                where=where,
                fix=_GEOMETRY,
            )
    pixels = np.asarray(sized)
    if recipe.color == "bgr":
        pixels = pixels[:, :, ::-1]
    if pixels.ndim == 2 and recipe.layout != "hw":
        pixels = pixels[:, :, np.newaxis]
    shape = (-1, 1, 1) if recipe.layout == "nchw" else (-1,)
    if recipe.layout == "nchw":
        pixels = pixels.transpose(2, 0, 1)
    if recipe.raw:
        return np.array(pixels, order="C")
    values = np.array(pixels, dtype=np.float32, order="C")
    values *= np.float32(recipe.scale)
    if any(recipe.mean):
        values -= np.array(recipe.mean, np.float32).reshape(shape)
    if any(value != 1 for value in recipe.std):
        values /= np.array(recipe.std, np.float32).reshape(shape)
    return values


def _resize(image: Image, recipe: Recipe) -> Image:
    from PIL import Image as Pillow

    if recipe.size is None:
        return image
    filter_ = Pillow.Resampling[recipe.interpolation.upper()]
    height, width = recipe.size
    if recipe.resize == "stretch":
        return image.resize((width, height), filter_)
    across, down = width / image.width, height / image.height
    if recipe.resize == "shorter":
        # One side comes out exact and the other is cut to an integer, as in torchvision's Resize.
        if across < down:
            size = (max(width, image.width * height // image.height), height)
        else:
            size = (width, max(height, image.height * width // image.width))
        return image.resize(size, filter_)
    factor = min(across, down)
    inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    gray = min(255, max(0, round(recipe.pad_value)))
    canvas = Pillow.new(image.mode, (width, height), gray if image.mode == "L" else (gray, gray, gray))
    canvas.paste(image.resize(inner, filter_), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _crop(image: Image, recipe: Recipe, where: str) -> Image:
    if recipe.crop is None:
        return image
    height, width = recipe.crop[0] or image.height, recipe.crop[1] or image.width
    if height > image.height or width > image.width:
        raise DataError(
            f"the image is {image.height}x{image.width} (height x width), "
            f"smaller than the crop of {height}x{width}",
            where=where,
            fix="pass --resize shorter with a --size no smaller than the crop",
        )
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def _plain(image: Image) -> Image:
    """Mode `L` or `RGB`; gray of a palette image goes by way of its colours."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    # Pillow warns about palettes with graded transparency unless they pass through RGBA.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata says nothing about the pixels
        return 1


def _upright(image: Image, orientation: int) -> Image:
    """Undoes the camera's turn that EXIF tag 274 records."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
