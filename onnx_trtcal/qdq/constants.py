"""Values that a graph computes from constants alone, by ops that only move them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["constant_shape", "constant_value"]

_MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")


def constant_value(tensor: gs.Tensor) -> np.ndarray | None:
    """The value of a constant, a Constant node's output, or either of them moved; None for anything else."""
    import onnx_graphsurgeon as gs

    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    if len(tensor.inputs) != 1:
        return None
    node = tensor.inputs[0]
    if node.op == "Constant":
        value = node.attrs.get("value")
        return np.asarray(value.values) if isinstance(value, gs.Constant) else None
    if node.op not in _MOVES:
        return None
    inputs = [constant_value(each) for each in node.inputs]
    known = [value for value in inputs if value is not None]
    return _move(node, known) if len(known) == len(inputs) else None


def constant_shape(tensor: gs.Tensor) -> tuple[int, ...] | None:
    """The shape of what `constant_value` would return, without reading a plain constant's values."""
    import onnx_graphsurgeon as gs

    if isinstance(tensor, gs.Constant):
        return tuple(tensor.shape)
    value = constant_value(tensor)
    return None if value is None else value.shape


def _move(node: gs.Node, inputs: list[np.ndarray]) -> np.ndarray | None:
    value = inputs[0]
    if node.op == "Identity":
        return value
    if node.op == "Transpose":
        return np.transpose(value, node.attrs.get("perm"))
    if node.op == "Flatten":
        axis = int(node.attrs.get("axis", 1))
        axis += value.ndim if axis < 0 else 0
        return value.reshape(int(np.prod(value.shape[:axis])), -1)
    if node.op == "Reshape":
        wanted = [int(size) for size in (inputs[1] if len(inputs) > 1 else node.attrs.get("shape", ()))]
        if not node.attrs.get("allowzero", 0):
            wanted = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
        return value.reshape(wanted)
    axes = inputs[1].tolist() if len(inputs) > 1 else node.attrs.get("axes")
    if node.op == "Squeeze":
        return np.squeeze(value, None if axes is None else tuple(axes))
    return np.expand_dims(value, tuple(axes)) if axes is not None else None
