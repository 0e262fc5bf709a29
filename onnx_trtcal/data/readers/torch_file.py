"""Tensors that torch.save wrote (.pt), read with PyTorch where it is installed; objects in them are never run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.data.readers.packages import needed_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.data.remote import DataPath

__all__ = ["read_torch"]


def read_torch(path: DataPath, where: str) -> Iterator[tuple[str, Any]]:
    """A tensor or {input name: tensor} as one row; of a list, each element.

    Raises:
        DataError: when PyTorch is not installed, or the file holds anything but tensors.
    """
    torch = needed_package("torch", where, "save the tensors as .npy, .npz or .safetensors")
    with reading(
        where,
        "the file does not hold plain tensors",
        "save a tensor, {input name: tensor}, or a list of these, with torch.save",
    ):
        source = path if isinstance(path, Path) else path.open()
        content = torch.load(source, map_location="cpu", weights_only=True)
    rows = content if isinstance(content, (list, tuple)) else [content]
    for number, row in enumerate(rows):
        yield f"element {number}", row
