"""A rewritten graph on its way out: to a session without copied weights, or to a file that stands alone."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.files import atomic_write
from onnx_trtcal.graph.external import is_external, map_values, tensor_nbytes, tensors_of
from onnx_trtcal.graph.load import Model
from onnx_trtcal.graph.order import reads
from onnx_trtcal.graph.surgeon import export_model

__all__ = ["Split", "save_model", "split_model"]

# Up to here a session gets its weights inside the model; beyond, by reference, so that they are not copied.
_INLINE_BYTES = 256 << 20
# A weight smaller than this is not worth a reference.
_SMALL_BYTES = 1 << 16
# Files above this leave too little room under protobuf's 2 GiB.
_FILE_BYTES = 3 << 29
# Runtimes map external weights from page boundaries.
_ALIGNMENT = 4096


@dataclass(frozen=True)
class Split:
    """A model and the weights that are not in it.

    Attributes:
        proto: the model; unchanged external weights refer to files in the original model's folder.
        arrays: initializers that `proto` only declares, to be given to the session by name
            (`SessionOptions.add_external_initializers`).
    """

    proto: onnx.ModelProto
    arrays: Mapping[str, np.ndarray]


def split_model(graph: gs.Graph, model: Model, inline_bytes: int = _INLINE_BYTES) -> Split:
    """The graph for a session: where its own weights exceed `inline_bytes`, the large ones as arrays beside it."""
    proto = export_model(graph, model)
    own = [tensor for tensor in proto.graph.initializer if not is_external(tensor)]
    if sum(map(tensor_nbytes, own)) <= inline_bytes:
        return Split(proto, {})
    arrays: dict[str, np.ndarray] = {}
    for tensor in own:
        if tensor_nbytes(tensor) >= _SMALL_BYTES:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
            _refer(tensor, "in memory", 0, tensor_nbytes(tensor))
    return Split(proto, arrays)


def save_model(graph: gs.Graph, model: Model, path: str | Path) -> tuple[Path, ...]:
    """Writes the graph as a model that needs no file of the original, and returns the files written.

    Nodes whose results nothing reads any more are left out. Weights go into `<file name>.data` beside the
    model when the original kept any outside, or when they are too many for one file.

    Raises:
        ModelError: when `path` is one of the original's own files.
        CalibrationError: when a file cannot be written.
    """
    target = Path(path)
    beside = target.with_name(target.name + ".data")
    _refuse_originals(model, (target, beside))
    proto = export_model(graph, model)
    _drop_dead_nodes(proto.graph, model.proto.graph)
    stored = [tensor for tensor in tensors_of(proto) if tensor_nbytes(tensor)]
    if not any(map(is_external, stored)) and sum(map(tensor_nbytes, stored)) <= _FILE_BYTES:
        atomic_write(target, proto.SerializeToString())
        return (target,)
    large = [tensor for tensor in stored if is_external(tensor) or tensor_nbytes(tensor) >= _SMALL_BYTES]
    _write_weights(beside, large, model.directory)
    atomic_write(target, proto.SerializeToString())
    return (target, beside)


def _refuse_originals(model: Model, targets: tuple[Path, ...]) -> None:
    own = {model.path.resolve()} if model.path else set()
    if model.directory is not None:
        for tensor in tensors_of(model.proto):
            if is_external(tensor):
                places = {entry.key: entry.value for entry in tensor.external_data}
                own.add((model.directory / places.get("location", "")).resolve())
    for target in targets:
        if target.resolve() in own:
            raise ModelError(
                "this file belongs to the input model, which is never overwritten",
                where=str(target),
                fix="give another path for the folded model",
            )


def _drop_dead_nodes(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Removes the nodes that the original's consumers left behind; nodes it never used itself stay."""
    read_before = {name for node in original.node for name in reads(node)}
    read_before.update(value.name for value in original.output)
    while True:
        read = {name for node in graph.node for name in reads(node)} | {v.name for v in graph.output}
        dead = [
            index
            for index, node in enumerate(graph.node)
            if node.output and not read & set(node.output) and read_before & set(node.output)
        ]
        if not dead:
            break
        for index in reversed(dead):
            del graph.node[index]
    made = {name for node in graph.node for name in node.output}
    stale = {name for node in original.node for name in node.output} - made
    unread = {tensor.name for tensor in graph.initializer} & read_before - read
    for field in (graph.initializer, graph.input, graph.value_info):
        for index in reversed(range(len(field))):
            if field[index].name in unread | stale:
                del field[index]


def _write_weights(path: Path, tensors: list[onnx.TensorProto], directory: Path | None) -> None:
    """Writes the tensors' values to one file, a page apart, and makes the tensors refer to it."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            for tensor in tensors:
                offset = math.ceil(file.tell() / _ALIGNMENT) * _ALIGNMENT
                file.write(b"\0" * (offset - file.tell()))
                if is_external(tensor) and directory is not None:
                    file.write(memoryview(map_values(tensor, directory)).cast("B"))
                else:
                    file.write(onnx.numpy_helper.tobytes_little_endian(numpy_helper.to_array(tensor)))
                _refer(tensor, path.name, offset, file.tell() - offset)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            if temporary:
                os.unlink(temporary)
        raise ModelError(
            f"cannot write the weights: {error.strerror or error}",
            where=str(path),
            fix="check that the folder exists, is writable, and has room",
        ) from error


def _refer(tensor: onnx.TensorProto, file: str, offset: int, length: int) -> None:
    """Turns a tensor into a reference to bytes in a file."""
    bare = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    bare.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        bare.external_data.add(key=key, value=str(value))
    tensor.CopyFrom(bare)
