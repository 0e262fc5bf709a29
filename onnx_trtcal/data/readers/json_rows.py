"""Rows in JSON: one a line (.jsonl), or the inputs that Polygraphy saved (.json).

Polygraphy's `--save-inputs` writes a list with `{input name: array}` for each iteration. An array is an object that
holds a .npy file in base64 under `array`, and names its type under `polygraphy_class`:
https://github.com/NVIDIA/TensorRT/blob/main/tools/Polygraphy/polygraphy/json/serde.py
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.readers.lazy_array import reading
from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.data.remote import DataPath

__all__ = ["read_json", "read_jsonl"]

_TYPE = "polygraphy_class"
_OLD_TYPE = "__polygraphy_encoded_"
_FIX = "write the file again; a row is a JSON object {input name: nested lists of numbers}"


def read_jsonl(path: DataPath, where: str) -> Iterator[tuple[str, Any]]:
    """The values of the lines; blank lines are skipped.

    Raises:
        DataError: naming the line that is not JSON.
    """
    with reading(where, "the file cannot be read", _FIX), _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"line {number}"
                with reading(f"{where}, {place}", "the line is not JSON", _FIX):
                    row = json.loads(line, object_hook=_decoded)
                yield place, row


def read_json(path: DataPath, where: str) -> Iterator[tuple[str, Any]]:
    """The elements of a list; a file that holds one object is one row.

    Raises:
        DataError: when the file is not JSON, or holds what Polygraphy saved of outputs.
    """
    with reading(where, "the file is not JSON", _FIX):
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_hook=_decoded)
    if isinstance(content, dict) and isinstance(content.get("lst"), list):
        content = content["lst"]
        if content and not isinstance(content[0], dict):
            raise DataError(
                "these are results of runs, not inputs", where=where, fix="give what --save-inputs wrote"
            )
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        raise DataError(
            "these are annotations of images (COCO), not inputs",
            where=where,
            fix="give the folder of the images, and this file as --labels",
        )
    rows = content if isinstance(content, list) else [content]
    for number, row in enumerate(rows):
        yield f"row {number}", row


def _opened(path: DataPath) -> io.TextIOWrapper:
    if isinstance(path, Path):
        return path.open(encoding="utf-8-sig")
    return io.TextIOWrapper(path.open(), encoding="utf-8-sig")


def _decoded(value: dict[str, Any]) -> Any:
    """The array that an object stands for; any other object as it is."""
    if _TYPE not in value and not any(key.startswith(_OLD_TYPE) for key in value):
        return value
    if isinstance(value.get("values"), np.ndarray):
        return value["values"]
    if not isinstance(value.get("array"), str):
        if "tensor" in value:
            raise ValueError("it holds PyTorch tensors: save NumPy arrays")
        return value
    return _stored_array(value["array"])


def _stored_array(text: str) -> np.ndarray:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        data = text.encode("latin-1")  # as its first versions wrote them
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else next(iter(loaded.values()))
