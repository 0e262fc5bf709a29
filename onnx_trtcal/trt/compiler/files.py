"""A model as the file that NVIDIA's compiler reads."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["on_disk"]


@contextlib.contextmanager
def on_disk(model: str | Path | onnx.ModelProto) -> Iterator[Path]:
    """The path of a model; one in memory is in a temporary file meanwhile.

    Raises:
        ModelError: when a model in memory is too large to be written.
    """
    if not isinstance(model, onnx.ModelProto):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="onnx_trtcal-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            onnx.save(model, path)
        except (EncodeError, ValueError) as error:
            raise ModelError(
                "the ModelProto is larger than the 2 GiB that protobuf can write",
                fix="save it with its weights as external data, and give the path of the file",
            ) from error
        yield path
