"""Weights that live beside the model file: which files, whether they are all there, and their bytes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.nodes import bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "Location",
    "external_files",
    "is_external",
    "location",
    "map_values",
    "sparse_tensors_of",
    "tensor_nbytes",
    "tensors_of",
    "write_aligned",
]

_HALF_BYTE = {"UINT4", "INT4", "FLOAT4E2M1"}
_QUARTER_BYTE = {"UINT2", "INT2"}


# Runtimes map external weights from page boundaries.
_PAGE = 4096
_LONGEST_SHOWN = 40  # characters of a field that should be a number
# The file name given to tensors whose values are handed over as arrays.
IN_MEMORY = "in memory"


@dataclass(frozen=True)
class Location:
    """Where an external tensor's bytes are: a file name relative to the model, offset and length in bytes."""

    file: str
    offset: int
    length: int


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's values are kept in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def tensor_nbytes(tensor: onnx.TensorProto) -> int:
    """The bytes that a tensor's raw values take; 0 for strings, whose length the type does not tell."""
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    count = math.prod(tensor.dims)
    if name in _HALF_BYTE:
        return (count + 1) // 2
    if name in _QUARTER_BYTE:
        return (count + 3) // 4
    if name in ("STRING", "UNDEFINED"):
        return 0
    return count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def location(tensor: onnx.TensorProto) -> Location:
    """The place an external tensor's bytes are in.

    Raises:
        ValueError: its offset or its length is not a whole number.
    """
    fields = {entry.key: entry.value for entry in tensor.external_data}
    length = _whole(fields, "length") or tensor_nbytes(tensor)
    return Location(fields.get("location", ""), _whole(fields, "offset"), length)


def _whole(fields: Mapping[str, str], name: str) -> int:
    """A field that is a whole number; 0 where it is missing."""
    text = fields.get(name) or "0"
    try:
        return int(text)
    except ValueError as error:
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        raise ValueError(f"its {name} is {shown!r}") from error


def reference(
    name: str, elem_type: int, shape: Iterable[int], place: Location | None = None
) -> onnx.TensorProto:
    """A tensor without values: they are in a file, or handed to the session under the tensor's name."""
    tensor = onnx.TensorProto(name=name, data_type=elem_type, dims=list(shape))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place.file if place else IN_MEMORY)
    if place:
        tensor.external_data.add(key="offset", value=str(place.offset))
        tensor.external_data.add(key="length", value=str(place.length))
    return tensor


def tensors_of(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in a model: initializers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def sparse_tensors_of(proto: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    """Every sparse tensor stored in a model, in subgraphs and functions too."""
    yield from _graph_sparse(proto.graph)
    for function in proto.functions:
        yield from _node_sparse(function.node)


def _graph_sparse(graph: onnx.GraphProto) -> Iterator[onnx.SparseTensorProto]:
    yield from graph.sparse_initializer
    yield from _node_sparse(graph.node)


def _node_sparse(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.SparseTensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors
        for body in bodies(node):
            yield from _graph_sparse(body)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                if attribute.type in (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS):
                    yield from (sparse.values, sparse.indices)
        for body in bodies(node):
            yield from _graph_tensors(body)


def external_files(proto: onnx.ModelProto, directory: Path | None, name: str) -> tuple[Path, ...]:
    """The files that hold a model's external weights, sorted by name.

    Args:
        proto: the model.
        directory: the folder of the model file; None when the model came without one.
        name: what to call the model in an error.

    Raises:
        ModelError: when the folder is not known, or a file is missing or too short; all such files are named.
    """
    needed: dict[str, int] = {}
    for tensor in tensors_of(proto):
        if is_external(tensor):
            place = location(tensor)
            needed[place.file] = max(needed.get(place.file, 0), place.offset + place.length)
    if not needed:
        return ()
    if directory is None:
        raise ModelError(
            "the model keeps its weights in other files, and was given without its folder",
            where=f"{name}: {', '.join(sorted(needed))}",
            fix="give the path of the model file instead of a ModelProto",
        )
    missing, short = [], []
    for file, size in sorted(needed.items()):
        path = directory / file
        if not path.is_file():
            missing.append(file)
        elif path.stat().st_size < size:
            short.append(f"{file} ({path.stat().st_size:,} bytes, {size:,} wanted)")
    if missing:
        raise ModelError(
            f"the model's weights are missing: {', '.join(missing)}",
            where=f"{name} keeps its weights in {'that file' if len(missing) == 1 else 'those files'}",
            fix=f"put {'it' if len(missing) == 1 else 'them'} into {directory}, or export the model again",
        )
    if short:
        raise ModelError(
            f"the model's weights are cut short: {', '.join(short)}",
            where=name,
            fix="copy or download the file again",
        )
    return tuple(directory / file for file in sorted(needed))


def map_values(tensor: onnx.TensorProto, directory: Path) -> np.ndarray:
    """The values of an external tensor, mapped from its file: read-only, and in memory only where touched.

    Raises:
        ModelError: when the file cannot be read.
    """
    place = location(tensor)
    path = directory / place.file
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    if math.prod(shape) * dtype.itemsize != tensor_nbytes(tensor):
        return _unpacked(tensor, path, place)
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    try:
        return np.memmap(path, dtype=dtype, mode="r", offset=place.offset, shape=shape)
    except (OSError, ValueError) as error:
        raise _unreadable(tensor, path, error) from error


def _unpacked(tensor: onnx.TensorProto, path: Path, place: Location) -> np.ndarray:
    # Types narrower than a byte are packed, and need the unpacking that onnx itself does.
    try:
        with open(os.fspath(path), "rb") as file:
            file.seek(place.offset)
            raw = file.read(tensor_nbytes(tensor))
    except OSError as error:
        raise _unreadable(tensor, path, error) from error
    if len(raw) < tensor_nbytes(tensor):
        raise _unreadable(tensor, path, None)
    whole = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
    return numpy_helper.to_array(whole)


def _unreadable(tensor: onnx.TensorProto, path: Path, error: OSError | ValueError | None) -> ModelError:
    """Why an external tensor has no values: its file is not there, not readable, or (no OSError) ends too soon."""
    where = f"{path}, tensor {tensor.name!r}"
    if isinstance(error, FileNotFoundError):
        return ModelError(
            f"the model's weights are missing: {path.name}",
            where=where,
            fix=f"put that file into {path.parent}, or export the model again",
        )
    if isinstance(error, OSError):
        return ModelError(
            f"cannot read the weights: {error.strerror or error}",
            where=where,
            fix="check that you may read the file, or export the model again",
        )
    return ModelError("the model's weights are cut short", where=where, fix="copy or download the file again")


def write_aligned(file: IO[bytes], values: np.ndarray) -> int:
    """Writes an array as ONNX stores it raw, from a new page of the file on, and returns its offset there."""
    file.write(b"\0" * (-file.tell() % _PAGE))
    offset = file.tell()
    file.write(_raw(values))
    return offset


def _raw(values: np.ndarray) -> bytes | memoryview:
    packed = numpy_helper.from_array(np.zeros((), values.dtype))
    if tensor_nbytes(packed) == values.dtype.itemsize and values.size:
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    return bytes(numpy_helper.from_array(values).raw_data)
