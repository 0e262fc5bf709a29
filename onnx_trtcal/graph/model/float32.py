"""A float64 or bfloat16 model as a float32 one, to be run where ONNX Runtime has no kernels for the type."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnx_trtcal.graph.model.external import is_external, map_values, tensors_of
from onnx_trtcal.graph.model.load import model_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx_trtcal.graph.model.load import Model

__all__ = ["CONVERTED", "to_float32"]

CONVERTED = {int(TensorProto.DOUBLE): "float64", int(TensorProto.BFLOAT16): "bfloat16"}
"""The element types that are converted, and what they are called."""

# Attributes that hold an element type.
_TYPES = frozenset({"dtype", "output_datatype", "output_dtype", "precision", "stash_type", "to"})
_LARGEST = np.finfo(np.float32).max


def to_float32(model: Model) -> Model:
    """The model with every float64 and bfloat16 tensor in float32; names stay, and so does the hash.

    float32 holds every bfloat16 value; a float64 value beyond its range becomes its largest. The model itself is
    not changed.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in tensors_of(proto):
        if tensor.data_type in CONVERTED:
            _convert(tensor, model.directory)
    for graph in _graphs(proto.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _retype(value.type)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in _TYPES and attribute.i in CONVERTED:
                    attribute.i = TensorProto.FLOAT
    elem_types = {
        name: int(TensorProto.FLOAT) if elem_type in CONVERTED else elem_type
        for name, elem_type in model.elem_types.items()
    }
    inputs = model_inputs(proto, model.shapes, str(model.path or "the model in memory"))
    return dataclasses.replace(model, proto=proto, inputs=inputs, elem_types=elem_types)


def _convert(tensor: onnx.TensorProto, directory: Path | None) -> None:
    stored = is_external(tensor) and directory is not None
    values = np.asarray(
        map_values(tensor, directory) if stored and directory else numpy_helper.to_array(tensor)
    )
    wide = values.astype(np.float64) if values.dtype.itemsize > 4 else values.astype(np.float32)
    clipped = np.where(np.isfinite(wide), np.clip(wide, -_LARGEST, _LARGEST), wide)
    made = numpy_helper.from_array(np.asarray(clipped, np.float32).reshape(tensor.dims), tensor.name)
    tensor.CopyFrom(made)


def _retype(kind: onnx.TypeProto) -> None:
    """Makes a type one of float32, inside sequences and optionals as well."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        held = getattr(kind, which)
        if held.elem_type in CONVERTED:
            held.elem_type = TensorProto.FLOAT
    elif which in ("sequence_type", "optional_type"):
        _retype(getattr(kind, which).elem_type)
    elif which == "map_type":
        _retype(kind.map_type.value_type)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _graphs(body)
