"""Image files of every usual kind, decoded to 8-bit gray or colour, upright."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.remote import RemotePath
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onnx_trtcal.data.remote import DataPath
    from onnx_trtcal.options import Color

__all__ = ["decode"]


def decode(source: DataPath | bytes | Image, color: Color, where: str) -> Image:
    """The first frame, upright, in mode `L` for gray and `RGB` otherwise.

    Args:
        source: the file, its content, or an image that Pillow has opened.
        color: what the model takes.
        where: what messages call the file.

    16-bit gray is cut to its high byte, as Pillow and OpenCV do for 16-bit colour; alpha is dropped, as they
    do; a palette is looked up; CMYK is converted; EXIF orientation is applied.

    Raises:
        DataError: when the file is damaged, not an image, or has pixels without an agreed range of values.
    """
    try:
        with _opened(source) as image:
            image.load()
            turned = _upright(_eight_bits(image, where), _orientation(image))
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


def _opened(source: DataPath | bytes | Image) -> AbstractContextManager[Image]:
    from PIL import Image

    if isinstance(source, Path):
        return Image.open(source)
    if isinstance(source, RemotePath):
        return Image.open(io.BytesIO(source.read_bytes()))
    return Image.open(io.BytesIO(source)) if isinstance(source, bytes) else nullcontext(source)


def _eight_bits(image: Image, where: str) -> Image:
    """Mode `L` or `RGB`, 8 bits per channel; gray of a palette image goes by way of its colours."""
    from PIL.Image import fromarray

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(
            f"the image has {image.mode} pixels of 32 bits, whose range of values is not defined",
            where=where,
            fix="convert it to 8 bits, or to a .npy file with the values the model takes",
        )
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    # Pillow warns about palettes with graded transparency unless they pass through RGBA.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 (Pillow raises many types; damaged metadata says nothing about the pixels)
        return 1


def _upright(image: Image, orientation: int) -> Image:
    """Undoes the rotation of the camera that EXIF tag 274 records."""
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
