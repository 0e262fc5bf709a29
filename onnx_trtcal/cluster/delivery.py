"""A model on its way to the machines of a cluster: its files as bytes, written once on each."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import onnx

from onnx_trtcal.errors import CalibrationError, ModelError
from onnx_trtcal.graph.model.external import external_files
from onnx_trtcal.graph.model.read import read_model

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Parcel", "pack_model", "remove_model", "unpack_model"]


@dataclass(frozen=True)
class Parcel:
    """The files of a model.

    Attributes:
        key: what the run calls it: other runs may have the same model, under another name or for a shorter time.
        main: name of the model file.
        files: path inside the model's folder -> its bytes; uint8, which processes of one machine share.
    """

    key: str
    main: str
    files: Mapping[str, np.ndarray]


def pack_model(model: Any) -> Parcel:
    """The files of a model, read.

    Args:
        model: path of an ONNX file, or a model in memory.

    Raises:
        ModelError: when it cannot be read, or is a model that was loaded already.
    """
    if not isinstance(model, (str, os.PathLike, onnx.ModelProto)):
        raise ModelError(
            f"a cluster is sent a model file or a ModelProto, and this is {type(model).__name__}",
            fix="give the path of the file",
        )
    source = read_model(model if isinstance(model, onnx.ModelProto) else Path(model))
    if source.path is None:
        data = source.proto.SerializeToString(deterministic=True)
        return Parcel(uuid4().hex, "model.onnx", {"model.onnx": np.frombuffer(data, np.uint8)})
    files = {source.path.name: np.fromfile(source.path, np.uint8)}
    for path in external_files(source.proto, source.directory, source.name):
        inside = os.path.relpath(path, source.path.parent)
        files[Path(inside).as_posix()] = np.fromfile(path, np.uint8)
    return Parcel(uuid4().hex, source.path.name, files)


def unpack_model(parcel: Parcel) -> Path:
    """The model file on this machine; the first to ask for it writes it.

    Raises:
        CalibrationError: when it cannot be written.
    """
    folder = _folder(parcel.key)
    if not folder.is_dir():
        try:
            made = Path(tempfile.mkdtemp(prefix="new-", dir=_parent()))
            for name, data in parcel.files.items():
                path = made / name
                if made.resolve() not in path.resolve().parents:
                    raise ModelError(f"the model keeps weights outside its folder: {name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                data.tofile(path)
            with contextlib.suppress(OSError):  # another task was first
                made.rename(folder)
            shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise CalibrationError(
                f"the model cannot be written to this machine: {error.strerror or error}",
                where=str(folder),
                fix="make room there, or set TMPDIR where Ray is started",
            ) from error
    return folder / parcel.main


def remove_model(key: str) -> None:
    """Removes the files of a model from this machine."""
    shutil.rmtree(_folder(key), ignore_errors=True)
    with contextlib.suppress(OSError):
        _parent().rmdir()


def _folder(key: str) -> Path:
    return _parent() / key


def _parent() -> Path:
    """A folder that no other user can write to, or have written to."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"onnx_trtcal-models-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if hasattr(os, "getuid") and (status.st_uid != user or folder.is_symlink()):
        raise CalibrationError(
            "this folder for models belongs to another user",
            where=str(folder),
            fix="remove it, or set TMPDIR",
        )
    return folder
