"""Image files made into what the model takes, as a recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnx_trtcal.data.arrays import to_array
from onnx_trtcal.data.images.custom import CustomRecipe, apply
from onnx_trtcal.data.images.decode import decode
from onnx_trtcal.data.images.geometry import Geometry, geometry_of
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onnx_trtcal.data.images.recipe import Recipe
    from onnx_trtcal.data.remote import DataPath

__all__ = ["LoadedImage", "load_image", "preprocess"]

_GEOMETRY = (
    "pass --resize stretch, shorter or letterbox, or a --preset such as imagenet or yolo: "
    "the one the model was trained with"
)


class LoadedImage(NamedTuple):
    """The array that the model takes for an image, without a batch axis, and how the image got there.

    Attributes:
        array: what is fed.
        geometry: where the image lies in the array; None when a transform of the caller's made it.
    """

    array: np.ndarray
    geometry: Geometry | None


def load_image(source: DataPath | bytes | Image, recipe: Recipe | CustomRecipe, where: str) -> LoadedImage:
    """The array that the model takes for an image.

    Args:
        source: a file, its content, or an image that Pillow has opened.
        recipe: what to do.
        where: the file or element, for messages.

    Raises:
        DataError: when the file cannot be decoded, or the result is not of the model's size.
    """
    if isinstance(recipe, CustomRecipe):
        made = apply(recipe.function, decode(source, "rgb", where), where)
        return LoadedImage(to_array(made, f"{where}, {recipe.describe()}"), None)
    image = decode(source, recipe.color, where)
    geometry = geometry_of(recipe, (image.height, image.width))
    return LoadedImage(preprocess(image, recipe, where), geometry)


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
    geometry = geometry_of(recipe, (image.height, image.width))
    sized = _crop(_resize(image, recipe, geometry), recipe, geometry, where)
    for size, wanted in zip((sized.height, sized.width), recipe.wanted, strict=True):
        if wanted is not None and size != wanted:
            height, width = ("any" if side is None else side for side in recipe.wanted)
            done = "" if sized.size == image.size else f" after {recipe.describe()}"
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


def _resize(image: Image, recipe: Recipe, geometry: Geometry) -> Image:
    from PIL import Image as Pillow

    if recipe.size is None:
        return image
    height, width = geometry.resized
    resized = image.resize((width, height), Pillow.Resampling[recipe.interpolation.upper()])
    if recipe.resize != "letterbox":
        return resized
    gray = min(255, max(0, round(recipe.pad_value)))
    size = geometry.canvas[::-1]
    canvas = Pillow.new(image.mode, size, gray if image.mode == "L" else (gray, gray, gray))
    canvas.paste(resized, geometry.pasted[::-1])
    return canvas


def _crop(image: Image, recipe: Recipe, geometry: Geometry, where: str) -> Image:
    if recipe.crop is None:
        return image
    (height, width), (top, left) = geometry.size, geometry.cut
    if height > image.height or width > image.width:
        raise DataError(
            f"the image is {image.height}x{image.width} (height x width), "
            f"smaller than the crop of {height}x{width}",
            where=where,
            fix="pass --resize shorter with a --size no smaller than the crop",
        )
    return image.crop((left, top, left + width, top + height))
