"""The values of tensors that depend on no graph input, computed with numpy from small chains of constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["constant_value", "is_constant", "is_default_domain"]

# A weight hides behind a few nodes at most; a longer chain is a computation of its own.
_DEPTH = 12


def is_default_domain(node: gs.Node) -> bool:
    """Whether a node is one of ONNX's own operators."""
    return node.domain in (None, "", "ai.onnx")


def is_constant(tensor: gs.Tensor, depth: int = _DEPTH) -> bool:
    """Whether `constant_value` has a chance: the tensor comes from constants through known operators only."""
    if isinstance(tensor, gs.Constant):
        return True
    if not depth or len(tensor.inputs) != 1:
        return False
    node = tensor.inputs[0]
    known = node.op in _OPERATORS and is_default_domain(node) and node.outputs[0] is tensor
    return known and all(not source.name or is_constant(source, depth - 1) for source in node.inputs)


def constant_value(tensor: gs.Tensor) -> np.ndarray | None:
    """The value of a tensor that comes from constants through known operators; None for any other."""
    if isinstance(tensor, gs.Constant):
        return tensor.values
    if not is_constant(tensor):
        return None
    node = tensor.inputs[0]
    inputs = [constant_value(source) if source.name else None for source in node.inputs]
    try:
        with np.errstate(all="ignore"):
            return _OPERATORS[node.op](node.attrs, *inputs)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError):
        return None


def _constant(attrs: dict[str, Any]) -> np.ndarray | None:
    if "value" in attrs:
        return attrs["value"].values
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if name in attrs:
            return np.array(attrs[name], dtype)
        if f"{name}s" in attrs:
            return np.array(attrs[f"{name}s"], dtype)
    return None


def _constant_of_shape(attrs: dict[str, Any], shape: np.ndarray) -> np.ndarray:
    value = attrs["value"].values.reshape(-1)[0] if "value" in attrs else np.float32(0)
    return np.full(tuple(shape), value)


def _reshape(attrs: dict[str, Any], data: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    wanted = [int(dim) for dim in (attrs["shape"] if shape is None else shape)]
    if not attrs.get("allowzero"):
        wanted = [data.shape[axis] if dim == 0 else dim for axis, dim in enumerate(wanted)]
    return data.reshape(wanted)


def _axes(attrs: dict[str, Any], axes: np.ndarray | None) -> tuple[int, ...] | None:
    given = attrs.get("axes") if axes is None else axes.reshape(-1)
    return None if given is None else tuple(int(axis) for axis in given)


def _unsqueeze(attrs: dict[str, Any], data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.expand_dims(data, _axes(attrs, axes) or ())


def _squeeze(attrs: dict[str, Any], data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.squeeze(data, _axes(attrs, axes))


def _flatten(attrs: dict[str, Any], data: np.ndarray) -> np.ndarray:
    axis = attrs.get("axis", 1) % (data.ndim + 1)
    return data.reshape(int(np.prod(data.shape[:axis], dtype=np.int64)), -1)


def _transpose(attrs: dict[str, Any], data: np.ndarray) -> np.ndarray:
    return np.transpose(data, attrs.get("perm"))


def _cast(attrs: dict[str, Any], data: np.ndarray) -> np.ndarray:
    return data.astype(helper.tensor_dtype_to_np_dtype(attrs["to"]))


def _dequantize(
    attrs: dict[str, Any], data: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None
) -> np.ndarray | None:
    """Y = (x - zero point) * scale, per tensor, per slice of an axis, or per block of one."""
    axis = attrs.get("axis", 1)
    parts = [np.asarray(scale), np.zeros_like(scale) if zero is None else np.asarray(zero)]
    if scale.ndim == 1 and scale.size > 1:
        along = [1] * data.ndim
        along[axis] = -1
        parts = [part.reshape(along) for part in parts]
    elif attrs.get("block_size"):
        rows = np.arange(data.shape[axis]) // attrs["block_size"]
        parts = [np.take(part, rows, axis) for part in parts]
    elif scale.size == 1:
        parts = [part.reshape(()) for part in parts]
    else:
        return None
    # Integers of any width subtract exactly in float64.
    return ((data.astype(np.float64) - parts[1].astype(np.float64)) * parts[0].astype(np.float64)).astype(
        scale.dtype
    )


def _binary(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray | None]:
    def apply(attrs: dict[str, Any], left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
        # Before opset 7 these operators broadcast by an attribute, in another way.
        return None if attrs else function(left, right)

    return apply


def _divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if np.issubdtype(left.dtype, np.integer):
        raise TypeError("integer division rounds towards zero in ONNX")
    return left / right


_OPERATORS: dict[str, Callable[..., np.ndarray | None]] = {
    "Add": _binary(np.add),
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "Div": _binary(_divide),
    "Flatten": _flatten,
    "Identity": lambda attrs, data: data,
    "Mul": _binary(np.multiply),
    "Neg": lambda attrs, data: -data,
    "Reciprocal": lambda attrs, data: np.reciprocal(data),
    "Reshape": _reshape,
    "Sqrt": lambda attrs, data: np.sqrt(data),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
