"""A model as it was given: read, checked by ONNX Runtime's own loading, and typed tensor by tensor."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import helper

from onnx_trtcal.errors import ModelError, did_you_mean
from onnx_trtcal.graph.model.external import external_files
from onnx_trtcal.graph.model.inference import Shape, infer_types
from onnx_trtcal.graph.model.order import distinct_names
from onnx_trtcal.graph.model.runtime import check_loads, runtime_types
from onnx_trtcal.support.files import natural_key
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Model", "load"]


@dataclass(frozen=True)
class Model:
    """An ONNX model that ONNX Runtime loads. Nothing in this package changes one.

    Attributes:
        path: the model file; None when the model was given as a ModelProto.
        proto: the model; tensors that are kept in other files are not loaded into it.
        directory: the folder that external weights are found in.
        sha256: hash of the model file and, in the order of their names, of its external files.
        inputs: the inputs to feed; initializers that are also graph inputs (all of them, up to IR 3)
            are not among them.
        outputs: the graph outputs.
        elem_types: `onnx.TensorProto` element type of every tensor of the main graph; 0 for sequences,
            maps and optionals.
        shapes: shape of every tensor of the main graph, None where not even the rank is known; an axis is
            a number, a symbolic name, or None.
    """

    path: Path | None
    proto: onnx.ModelProto
    directory: Path | None
    sha256: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    elem_types: Mapping[str, int]
    shapes: Mapping[str, Shape | None]


def load(model: str | Path | onnx.ModelProto, ort_custom_ops: Sequence[str] = ()) -> Model:
    """Reads a model and checks it by loading it in ONNX Runtime, unmodified but for node names used twice.

    Args:
        model: path of an ONNX file, or a model in memory (which is kept, not copied, and never changed).
        ort_custom_ops: shared libraries that define custom operators for ONNX Runtime.

    Raises:
        ModelError: when there is no such file, it is not an ONNX model, weights are missing, or ONNX Runtime
            cannot load it.
    """
    if isinstance(model, onnx.ModelProto):
        path, directory, name = None, None, "the ModelProto"
        data = _serialised(model)
        proto = model
    elif not isinstance(model, (str, os.PathLike)):
        raise ModelError(
            f"a model is a path or an onnx.ModelProto, and this is {type(model).__name__}",
            fix="onnx.load_model_from_string makes a ModelProto of a serialized model",
        )
    else:
        path = Path(model)
        directory, name = path.parent, str(path)
        data = _read(path)
        proto = _parsed(data, name)
    digest = hashlib.sha256(data)
    for file in external_files(proto, directory, name):
        digest.update(file.name.encode())
        digest.update(_file_digest(file))
    renamed = _distinctly_named(proto)
    given = renamed or path or data
    del data, renamed  # the weights may be among them
    check_loads(given, ort_custom_ops, name, directory)
    del given
    elem_types, shapes = _types(proto, directory, ort_custom_ops)
    return Model(
        path=path,
        proto=proto,
        directory=directory,
        sha256=digest.hexdigest(),
        inputs=_inputs(proto, shapes, name),
        outputs=tuple(value.name for value in proto.graph.output),
        elem_types=elem_types,
        shapes=shapes,
    )


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
        raise ModelError(f"cannot read the model: {error.strerror or error}", where=str(path)) from error


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


def _distinctly_named(proto: onnx.ModelProto) -> bytes | None:
    """The model under other node names, when some occur twice, which ONNX Runtime alone objects to."""
    names = distinct_names(proto.graph.node)
    if names == [node.name for node in proto.graph.node]:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node, name in zip(copy.graph.node, names, strict=True):
        if name != node.name:
            node.name = name
    return bytes(copy.SerializeToString())


def _types(
    proto: onnx.ModelProto, directory: Path | None, ort_custom_ops: Sequence[str]
) -> tuple[dict[str, int], dict[str, Shape | None]]:
    found = infer_types(proto)
    elem_types, shapes = dict(found.elem_types), dict(found.shapes)
    if found.unknown:
        for tensor, (elem_type, shape) in runtime_types(
            proto, found.unknown, directory, ort_custom_ops
        ).items():
            elem_types[tensor] = elem_type
            shapes[tensor] = shape if shapes[tensor] is None else shapes[tensor]
    return elem_types, shapes


def _inputs(proto: onnx.ModelProto, shapes: Mapping[str, Shape | None], name: str) -> tuple[InputSpec, ...]:
    defaults = {tensor.name for tensor in proto.graph.initializer}
    defaults.update(tensor.values.name for tensor in proto.graph.sparse_initializer)
    specs = []
    for value in proto.graph.input:
        if value.name in defaults:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            kind = str(value.type.WhichOneof("value") or "of no type").removesuffix("_type")
            raise ModelError(
                f"the input {value.name!r} is not a tensor ({kind})",
                where=name,
                fix="calibration feeds tensors only: export the model with tensor inputs",
            )
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = shapes.get(value.name)
        specs.append(InputSpec(value.name, dtype, shape or (), ranked=shape is not None))
    return tuple(specs)
