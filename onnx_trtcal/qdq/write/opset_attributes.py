"""Attributes between two versions of one operator: those that became inputs, were dropped, or have a new default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.view import numpy_type

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["cannot_raise", "convert_attributes"]

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
# (op, attribute) -> the input that the attribute became.
_BECAME_INPUT = {
    ("Clip", "min"): 1,
    ("Clip", "max"): 2,
    ("Pad", "pads"): 1,
    ("Pad", "value"): 2,
    ("Slice", "starts"): 1,
    ("Slice", "ends"): 2,
    ("Slice", "axes"): 3,
    ("Split", "split"): 1,
    ("Squeeze", "axes"): 1,
    ("TopK", "k"): 1,
    ("Unsqueeze", "axes"): 1,
    **{(f"Reduce{name}", "axes"): 1 for name in _REDUCTIONS},
}
# Those of them that hold values of the tensor's own type; the others are positions and sizes.
_VALUES = {("Clip", "min"), ("Clip", "max"), ("Pad", "value")}
# What training sets and inference ignores.
_MEANINGLESS = {("Dropout", "ratio"), ("BatchNormalization", "momentum")}


def convert_attributes(node: gs.Node, old: Any, new: Any, target: int) -> None:
    """Moves, drops or keeps each attribute, so that the new operator computes what the old one did.

    Args:
        node: changed in place.
        old: the operator's `onnx.defs.OpSchema` before.
        new: its schema afterwards.
        target: the opset of `new`, for errors.

    Raises:
        ModelError: the new operator cannot express an attribute.
    """
    for name in list(node.attrs):
        if name in new.attributes:
            continue
        place = _BECAME_INPUT.get((node.op, name))
        if place is not None:
            _set_input(node, place, name, node.attrs[name])
        elif (node.op, name) not in _MEANINGLESS and node.attrs[name] != _default(old, name):
            raise cannot_raise(f"its attribute {name!r} has no counterpart there", target, node)
        del node.attrs[name]
    for name in sorted(set(old.attributes) & set(new.attributes)):
        before, after = _default(old, name), _default(new, name)
        if before != after and name not in node.attrs:
            if before is None:
                raise cannot_raise(f"the default of its attribute {name!r} changed", target, node)
            node.attrs[name] = before


def cannot_raise(what: str, target: int, node: gs.Node | None = None) -> ModelError:
    """The error that says why a graph, or one node of it, cannot be brought to an opset."""
    where = "" if node is None else f"{node.op} {node.name or node.outputs[0].name!r}"
    return ModelError(
        f"the model cannot be raised to opset {target}: {what}",
        where=where,
        fix=f"export the model again with opset {target} or later, or try onnx.version_converter on it",
    )


def _set_input(node: gs.Node, place: int, name: str, value: object) -> None:
    import onnx_graphsurgeon as gs

    if (node.op, name) in _VALUES:
        array = np.array(value, numpy_type(node.inputs[0]) or np.float32)
    else:
        array = np.atleast_1d(np.array(value, np.int64))
    while len(node.inputs) <= place:
        node.inputs.append(gs.Variable.empty())
    node.inputs[place] = gs.Constant(f"{node.outputs[0].name}_{name}", array)


def _default(schema: Any, name: str) -> object:
    attribute = schema.attributes.get(name)
    if attribute is None or not attribute.default_value.name:
        return None
    value = helper.get_attribute_value(attribute.default_value)
    return value.decode() if isinstance(value, bytes) else value
