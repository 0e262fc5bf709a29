"""A model file, or a model in memory, as a ModelProto: read, and told from what is not one."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError, EncodeError

from onnx_trtcal.errors import CHECK_PATH, ModelError, did_you_mean
from onnx_trtcal.graph.model.external import external_files
from onnx_trtcal.graph.model.signatures import check_signatures
from onnx_trtcal.graph.model.stored import check_stored
from onnx_trtcal.graph.model.text import check_text
from onnx_trtcal.support.files import natural_key

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

__all__ = ["ModelSource", "read_model"]


@dataclass(frozen=True)
class ModelSource:
    """A model as it was given.

    Attributes:
        path: the model file; None when the model was given as a ModelProto.
        directory: the folder that external weights are found in.
        name: what to call it in messages.
        proto: the model; tensors that are kept in other files are not loaded into it.
        digest: SHA-256 over the file, or over the serialized ModelProto.
    """

    path: Path | None
    directory: Path | None
    name: str
    proto: onnx.ModelProto
    digest: Hash

    def sha256(self) -> str:
        """Hash of the model file and, in the order of their names, of its external files.

        Raises:
            ModelError: when an external file is missing or too short.
        """
        whole = self.digest.copy()
        for file in external_files(self.proto, self.directory, self.name):
            # A name that the locale cannot hold counts by its bytes, which are UTF-8 elsewhere.
            whole.update(file.name.encode("utf-8", "surrogateescape"))
            whole.update(_file_digest(file))
        return whole.hexdigest()


def read_model(model: str | Path | onnx.ModelProto) -> ModelSource:
    """Reads a model.

    Args:
        model: path of an ONNX file, or a model in memory (which is kept, not copied, and never changed).

    Raises:
        ModelError: when there is no such file, it is not an ONNX model, or what it stores cannot be what it says,
            see `check_stored`, or a node is not what its operator is defined as.
    """
    if isinstance(model, onnx.ModelProto):
        check_text(model, "the ModelProto")
        check_stored(model, None, "the ModelProto")
        check_signatures(model, "the ModelProto")
        return ModelSource(None, None, "the ModelProto", model, hashlib.sha256(_serialised(model)))
    if not isinstance(model, (str, os.PathLike)):
        raise ModelError(
            f"a model is a path or an onnx.ModelProto, and this is {type(model).__name__}",
            fix="onnx.load_model_from_string makes a ModelProto of a serialized model",
        )
    path = Path(model)
    data = _read(path)
    with ThreadPoolExecutor(1, thread_name_prefix="model-hash") as beside:
        digest = beside.submit(hashlib.sha256, data)  # which leaves the interpreter to others
        proto = _parsed(data, str(path))
        check_text(proto, str(path))
        check_stored(proto, path, str(path))
        check_signatures(proto, str(path))
        return ModelSource(path, path.parent, str(path), proto, digest.result())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        siblings = sorted((p.name for p in path.parent.glob("*.onnx")), key=natural_key)
        raise ModelError(
            "there is no such model file",
            where=str(path),
            fix=did_you_mean(path.name, siblings) or "check the path",
        ) from error
    except IsADirectoryError as error:
        raise ModelError("this is a folder, not a model file", where=str(path), fix=_inside(path)) from error
    except OSError as error:
        raise ModelError(
            f"cannot read the model: {error.strerror or error}", where=str(path), fix=CHECK_PATH
        ) from error


def _inside(folder: Path) -> str:
    names = sorted((p.name for p in folder.glob("*.onnx")), key=natural_key)
    return f"give the file, such as {folder / names[0]}" if names else "give the path of an .onnx file"


def _parsed(data: bytes, name: str) -> onnx.ModelProto:
    fix = "give an .onnx file; copy or export it again if this should be one"
    if data.startswith(b"version https://git-lfs"):
        raise ModelError("this is a Git LFS pointer, not the model", where=name, fix="run `git lfs pull`")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError("this is not an ONNX model", where=name, fix=fix) from error
    if not proto.HasField("graph"):
        raise ModelError("this is not an ONNX model: it holds no graph", where=name, fix=fix)
    return proto


def _serialised(proto: onnx.ModelProto) -> bytes:
    if not proto.HasField("graph"):
        raise ModelError("the ModelProto holds no graph", fix="give a whole model")
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "the ModelProto is larger than the 2 GiB that protobuf can write",
            fix="save it with its weights as external data, and give the path of the file",
        ) from error


def _file_digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
