"""Whether what a model stores can be what it says: types, shapes, sizes, and where external weights lie.

Everything is checked before a value is read or a file is opened, so that the readers behind need not expect a model
that lies about itself.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.external import (
    is_external,
    location,
    sparse_tensors_of,
    tensor_nbytes,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["check_stored"]

# The largest tensor that a model file itself could hold; a sparse one is made dense when it is read.
_MOST_DENSE = 2 << 30
_INT32 = ("INT32", "INT16", "INT8", "UINT16", "UINT8", "BOOL", "FLOAT16", "BFLOAT16")
_FIELDS = {
    "FLOAT": "float_data",
    "COMPLEX64": "float_data",
    "DOUBLE": "double_data",
    "COMPLEX128": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
    "STRING": "string_data",
    **dict.fromkeys(_INT32, "int32_data"),
}


def check_stored(proto: onnx.ModelProto, path: Path | None, name: str) -> None:
    """Checks every tensor that a model stores.

    Args:
        proto: the model; external tensors are not loaded.
        path: the model file; None when the model was given in memory.
        name: what to call the model in an error.

    Raises:
        ModelError: a tensor has a type, a shape or a size that it cannot have, or its values are in a place that
            is not an ordinary file in the model's folder.
    """
    folders = _folders(path) if path else ()
    for tensor in tensors_of(proto):
        where = f"{name}, tensor {tensor.name!r}"
        _check_shape(tensor, where)
        if is_external(tensor):
            _check_place(tensor, path, folders, where)
        else:
            _check_values(tensor, where)
    for sparse in sparse_tensors_of(proto):
        _check_sparse(sparse, f"{name}, sparse tensor {sparse.values.name!r}")


def _folders(path: Path) -> tuple[Path, ...]:
    """Where external weights may lie: beside the model, also where that is a link to a file elsewhere.

    Hugging Face's cache is such a case: a folder of links whose files lie side by side in another one.
    """
    return tuple({path.parent.resolve(), path.resolve().parent})


def _check_shape(tensor: TensorProto, where: str) -> None:
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError as error:
        raise _damaged(f"its element type {tensor.data_type} is not one of ONNX's", where) from error
    if any(size < 0 for size in tensor.dims):
        raise _damaged(f"its shape is {_short(tensor.dims)}", where)
    if math.prod(tensor.dims) * max(dtype.itemsize, 1) >= 1 << 62:
        raise _damaged(f"its shape {_short(tensor.dims)} is larger than any memory", where)


def _check_values(tensor: TensorProto, where: str) -> None:
    """Whether as many values are there as the shape says."""
    kind = TensorProto.DataType.Name(tensor.data_type)
    count, nbytes = math.prod(tensor.dims), tensor_nbytes(tensor)
    if tensor.HasField("raw_data"):
        held, wanted, unit = len(tensor.raw_data), nbytes, "bytes"
        if kind == "STRING":
            raise _damaged("it holds strings as raw data", where)
    else:
        # Types that are narrower than 16 bits and unknown to this table are packed, a byte an entry.
        held = len(getattr(tensor, _FIELDS.get(kind, "int32_data")))
        wanted = count * 2 if kind.startswith("COMPLEX") else count if kind in _FIELDS else nbytes
        unit = "values"
    if held != wanted:
        raise _damaged(
            f"its shape {_short(tensor.dims)} needs {wanted:,} {unit}, and it holds {held:,}", where
        )


def _check_place(tensor: TensorProto, path: Path | None, folders: Iterable[Path], where: str) -> None:
    """Whether an external tensor's file may be read; one that is not there is noticed when it is needed."""
    try:
        place = location(tensor)
    except ValueError as error:
        raise _damaged(f"where its values lie is not told in whole numbers: {error}", where) from error
    if tensor.data_type == TensorProto.STRING:
        raise _damaged("it keeps strings in another file, which ONNX does not allow", where)
    if not place.file or "\0" in place.file:
        raise _damaged(f"its values are said to be in a file named {place.file!r}", where)
    nbytes = tensor_nbytes(tensor)
    if place.offset < 0 or place.length < 0 or place.offset + max(place.length, nbytes) >= 1 << 62:
        raise _damaged(f"its values are said to be at {place.offset:,}, {place.length:,} bytes long", where)
    if place.length < nbytes:
        raise _damaged(
            f"its shape {_short(tensor.dims)} needs {nbytes:,} bytes, and {place.length:,} are said to be stored",
            where,
        )
    if path is not None:
        _check_file(path.parent / place.file, place.file, folders, where)


def _check_file(file: Path, told: str, folders: Iterable[Path], where: str) -> None:
    fix = "export the model again with its weights in one file beside it; do not trust a file that names other places"
    try:
        resolved = file.resolve()
        outside = not any(resolved.is_relative_to(folder) for folder in folders)
        odd = file.exists() and not file.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"its weights cannot be looked up: {error}", where=where, fix=fix) from error
    if outside or os.path.isabs(told):
        raise ModelError(f"its weights lie outside the model's folder: {told!r}", where=where, fix=fix)
    if odd:
        raise ModelError(f"its weights are not in an ordinary file: {told!r}", where=where, fix=fix)


def _check_sparse(sparse: onnx.SparseTensorProto, where: str) -> None:
    values, indices, dims = sparse.values, sparse.indices, list(sparse.dims)
    size = math.prod(dims)
    if any(each < 0 for each in dims):
        raise _damaged(f"its shape is {_short(dims)}", where)
    itemsize = helper.tensor_dtype_to_np_dtype(values.data_type).itemsize
    if size * itemsize > _MOST_DENSE:
        raise _damaged(f"its shape {_short(dims)} takes {size * itemsize:,} bytes as an array", where)
    if indices.data_type != TensorProto.INT64 or is_external(indices) or is_external(values):
        raise _damaged("its indices are not INT64, or lie in another file", where)
    found = numpy_helper.to_array(indices)
    count = math.prod(values.dims)
    flat = found.shape == (count,)
    if not flat and found.shape != (count, len(dims)):
        raise _damaged(f"it has {count:,} values and indices of shape {list(found.shape)}", where)
    limits = size if flat else dims
    if found.size and (found.min() < 0 or (found >= limits).any()):
        raise _damaged(f"its indices leave its shape {_short(dims)}", where)


def _damaged(what: str, where: str) -> ModelError:
    return ModelError(f"the model is damaged: {what}", where=where, fix="export it or copy it again")


def _short(dims: Iterable[int]) -> str:
    sizes = [str(size) for size in dims]
    return f"[{', '.join(sizes[:8])}{', …' if len(sizes) > 8 else ''}]"
