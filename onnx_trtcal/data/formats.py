"""The file formats that calibration data comes in: nothing else in the package names one to tell it from others.

To add a format, write its reader (see `onnx_trtcal.data.readers`) and its line in FORMATS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from onnx_trtcal.data.readers.json_rows import read_json, read_jsonl
from onnx_trtcal.data.readers.numpy_files import read_npy, read_npz
from onnx_trtcal.data.readers.onnx_tensor import read_tensor
from onnx_trtcal.data.readers.parquet_rows import read_parquet
from onnx_trtcal.data.readers.safetensors_file import read_safetensors
from onnx_trtcal.data.readers.torch_file import read_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import PurePath

    from onnx_trtcal.data.readers.lazy_array import LazyArray
    from onnx_trtcal.data.remote import DataPath

__all__ = [
    "FORMATS",
    "Content",
    "Format",
    "content_of",
    "format_names",
    "only_alone",
    "read_arrays",
    "read_rows",
]

Content = Literal["image", "array", "arrays", "rows"]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: what messages and the README call it.
        suffixes: how its files' names end, in lower case.
        content: an `image`, which preprocessing makes into the array of one input; the `array` of one input;
            `arrays`, one for each input, by name; or `rows`, each of which is an element, see
            `onnx_trtcal.data.elements`.
        read: reads arrays, see `onnx_trtcal.data.readers`; None for other content.
        rows: reads rows, likewise; None for other content.
        alone: whether such files in a directory are data only where there are no others: those that also hold
            annotations or weights.
    """

    name: str
    suffixes: tuple[str, ...]
    content: Content
    read: Callable[[DataPath, str], Mapping[str, LazyArray]] | None = None
    rows: Callable[[DataPath, str], Iterable[tuple[str, Any]]] | None = None
    alone: bool = False


FORMATS = (
    Format(
        "images (PNG, JPEG, BMP, WebP, TIFF, GIF)",
        (
            *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".tif", ".tiff"),
            *(".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
        ),
        "image",
    ),
    Format(".npy", (".npy",), "array", read_npy),
    Format(".npz", (".npz",), "arrays", read_npz),
    Format("ONNX .pb tensors", (".pb",), "array", read_tensor),
    Format(".safetensors", (".safetensors",), "arrays", read_safetensors, alone=True),
    Format(".pt", (".pt", ".pth"), "rows", rows=read_torch, alone=True),
    Format(".parquet", (".parquet", ".pq"), "rows", rows=read_parquet, alone=True),
    Format(".jsonl", (".jsonl", ".ndjson"), "rows", rows=read_jsonl, alone=True),
    Format("Polygraphy's .json", (".json",), "rows", rows=read_json, alone=True),
)

_BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}


def content_of(path: DataPath | PurePath | str) -> Content | None:
    """What a file with this name holds; None when calibration data does not come in such files."""
    form = _form(path)
    return form.content if form else None


def only_alone(path: DataPath | PurePath | str) -> bool:
    """Whether a file with this name is data only in a directory that holds no other data."""
    form = _form(path)
    return form is not None and form.alone


def _form(path: DataPath | PurePath | str) -> Format | None:
    name = path if isinstance(path, str) else path.name
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower())


def format_names(*contents: Content) -> str:
    """The formats that hold one of these, or all formats, as words: `images (PNG, …), .npy and .npz`."""
    *names, last = [form.name for form in FORMATS if not contents or form.content in contents]
    return f"{', '.join(names)} and {last}" if names else last


def read_arrays(path: DataPath, where: str) -> Mapping[str, LazyArray]:
    """The arrays of a file whose content is `array` or `arrays`, by the names that it gives them.

    Args:
        path: the file.
        where: what messages call it.

    Raises:
        DataError: when the file is damaged, or is not of the format that its name promises.
    """
    form = _form(path)
    if form is None or form.read is None:
        raise TypeError(f"{where} has no reader of arrays")
    return form.read(path, where)


def read_rows(path: DataPath, where: str) -> Iterable[tuple[str, Any]]:
    """The rows of a file whose content is `rows`, each with what messages call its place in the file.

    Args:
        path: the file.
        where: what messages call it.

    Raises:
        DataError: when the file is damaged, is not of the format that its name promises, or needs a package that
            is not installed.
    """
    form = _form(path)
    if form is None or form.rows is None:
        raise TypeError(f"{where} has no reader of rows")
    return form.rows(path, where)
