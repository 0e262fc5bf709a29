"""Whether two models take the same inputs and give the same outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from onnx_trtcal.data.layout import Shape, is_fixed, shape_text
from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.ops import FLOATS

if TYPE_CHECKING:
    from onnx_trtcal.graph.model.load import Model

__all__ = ["check_interfaces", "tensor_outputs"]


def check_interfaces(model: Model, quantized: Model) -> None:
    """Checks that a quantized model has the inputs and outputs of a float model, in comparable types and shapes.

    Raises:
        ModelError: it has not, so that it was made from another model.
    """
    ours, theirs = _interface(model), _interface(quantized)
    for (what, name), (elem_type, shape) in ours.items():
        if (what, name) not in theirs:
            problem = f"the quantized model has no {what} {name!r}"
        elif not _alike(what, (elem_type, shape), theirs[what, name]):
            one, other = _text(*theirs[what, name]), _text(elem_type, shape)
            problem = f"{what} {name!r} is {one} in the quantized model, {other} in the float model"
        else:
            continue
        raise ModelError(
            problem,
            where=str(quantized.path or model.path or ""),
            fix="give the float model that the quantized one was made from",
        )


def tensor_outputs(model: Model) -> tuple[str, ...]:
    """The model's outputs, without sequences, maps and optionals, whose values are not compared."""
    others = {
        value.name
        for value in model.proto.graph.output
        if value.type.WhichOneof("value") not in (None, "tensor_type")
    }
    return tuple(name for name in model.outputs if name not in others)


def _interface(model: Model) -> dict[tuple[str, str], tuple[int, Shape | None]]:
    """("input" or "output", name) -> its element type, 0 if unknown, and its shape, None if unknown."""
    names = [("input", spec.name) for spec in model.inputs] + [("output", name) for name in model.outputs]
    return {key: (model.elem_types.get(key[1], 0), model.shapes.get(key[1])) for key in names}


def _alike(what: str, ours: tuple[int, Shape | None], theirs: tuple[int, Shape | None]) -> bool:
    """Whether both can be fed alike, or their values compared, as far as the models state it."""
    types = {ours[0], theirs[0]}
    # Outputs of different precision compare; an input is fed as the float model wants it.
    if len(types) > 1 and 0 not in types and not (what == "output" and types <= FLOATS):
        return False
    if ours[1] is None or theirs[1] is None:
        return True
    if len(ours[1]) != len(theirs[1]):
        return False
    pairs = zip(ours[1], theirs[1], strict=True)
    return all(one == other or not (is_fixed(one) and is_fixed(other)) for one, other in pairs)


def _text(elem_type: int, shape: Shape | None) -> str:
    known = TensorProto.DataType.Name(elem_type).lower() if elem_type else "of some type"
    return known if shape is None else f"{known} {shape_text(shape)}"
