"""A model as it was given, with its functions inlined, typed tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.functions import count_function_calls, inline_functions
from onnx_trtcal.graph.model.inference import Shape, guess_types, infer_types
from onnx_trtcal.graph.model.read import read_model
from onnx_trtcal.graph.model.runtime import runtime_types
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Model", "load", "model_inputs"]


@dataclass(frozen=True)
class Model:
    """An ONNX model. Nothing in this package changes one.

    Attributes:
        path: the model file; None when the model was given as a ModelProto.
        proto: the model, without calls of functions that it defines; tensors that are kept in other files are
            not loaded into it.
        directory: the folder that external weights are found in.
        sha256: hash of the model file and, in the order of their names, of its external files.
        inputs: the inputs to feed; initializers that are also graph inputs (all of them, up to IR 3)
            are not among them.
        outputs: the graph outputs.
        elem_types: `onnx.TensorProto` element type of every tensor of the main graph; 0 for sequences,
            maps and optionals.
        shapes: shape of every tensor of the main graph, None where not even the rank is known; an axis is
            a number, a symbolic name, or None.
        inlined: how many calls of functions that the model defines were inlined.
        original: where `proto` was changed for a rewritten graph to be exported against, what it was before;
            None where it was not.
    """

    path: Path | None
    proto: onnx.ModelProto
    directory: Path | None
    sha256: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    elem_types: Mapping[str, int]
    shapes: Mapping[str, Shape | None]
    inlined: int = 0
    original: onnx.ModelProto | None = None


def load(model: str | Path | onnx.ModelProto | Model, ort_custom_ops: Sequence[str] = ()) -> Model:
    """Reads a model, with the functions that it defines inlined. It is not run, nor loaded to be run.

    Args:
        model: path of an ONNX file, or a model in memory (which is kept, not copied, and never changed); one that is
            loaded already is returned as it is.
        ort_custom_ops: shared libraries that define custom operators: they tell the types of tensors.

    Raises:
        ModelError: when there is no such file, it is not an ONNX model, or weights are missing.
    """
    if isinstance(model, Model):
        return model
    source = read_model(model)
    sha256 = source.sha256()
    proto = inline_functions(source.proto)
    elem_types, shapes = _types(proto, source.directory, ort_custom_ops)
    return Model(
        path=source.path,
        proto=proto,
        directory=source.directory,
        sha256=sha256,
        inputs=model_inputs(proto, shapes, source.name),
        outputs=tuple(value.name for value in proto.graph.output),
        elem_types=elem_types,
        shapes=shapes,
        inlined=count_function_calls(source.proto) - count_function_calls(proto),
    )


def _types(
    proto: onnx.ModelProto, directory: Path | None, ort_custom_ops: Sequence[str]
) -> tuple[dict[str, int], dict[str, Shape | None]]:
    found = infer_types(proto)
    elem_types, shapes = dict(found.elem_types), dict(found.shapes)
    if not found.unknown:
        return elem_types, shapes
    told = runtime_types(proto, found.unknown, directory, ort_custom_ops)
    for tensor, (elem_type, shape) in told.items():
        elem_types[tensor] = elem_type
        shapes[tensor] = shape if shapes[tensor] is None else shapes[tensor]
    if not told:
        guessed = guess_types(proto, found)
        elem_types.update(guessed.elem_types)
        shapes.update(guessed.shapes)
    return elem_types, shapes


def model_inputs(
    proto: onnx.ModelProto, shapes: Mapping[str, Shape | None], name: str
) -> tuple[InputSpec, ...]:
    """The inputs to feed.

    Args:
        proto: the model.
        shapes: of its tensors.
        name: what to call it in messages.

    Raises:
        ModelError: when one of them is not a tensor.
    """
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
        elem_type = value.type.tensor_type.elem_type
        if elem_type not in helper.get_all_tensor_dtypes():
            raise ModelError(
                f"the input {value.name!r} is of element type {elem_type}, which onnx {onnx.__version__} does not know",
                where=name,
                fix="export the model again, or update onnx if the type is newer",
            )
        dtype = helper.tensor_dtype_to_np_dtype(elem_type)
        shape = shapes.get(value.name)
        specs.append(InputSpec(value.name, dtype, shape or (), ranked=shape is not None))
    return tuple(specs)
