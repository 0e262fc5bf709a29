"""A model as the file that NVIDIA's compiler reads."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from onnx_trtcal.errors import ModelError
from onnx_trtcal.support.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["on_disk"]


@contextlib.contextmanager
def on_disk(model: str | Path | onnx.ModelProto, external: Mapping[Path, Path] = {}) -> Iterator[Path]:
    """The path of a model; one in memory is in a temporary file meanwhile.

    Args:
        model: an ONNX file, or a model in memory.
        external: where a model in memory expects a file with weights, relative to itself -> where that file is.

    Raises:
        ModelError: when a model in memory is too large to be written.
    """
    if not isinstance(model, onnx.ModelProto):
        yield Path(model)
        return
    with TemporaryFolder() as folder:
        path = folder / "model.onnx"
        for place, file in external.items():
            (path.parent / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, path.parent / place)
        try:
            onnx.save(model, path)
        except (EncodeError, ValueError) as error:
            raise ModelError(
                "the ModelProto is larger than the 2 GiB that protobuf can write",
                fix="save it with its weights as external data, and give the path of the file",
            ) from error
        yield path
