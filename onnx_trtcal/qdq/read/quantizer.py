"""Reads a Q or DQ node of any model: its scale and zero-point as arrays, and the range they cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_trtcal.graph.view import kind, numpy_type

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["Quantizer", "has_scale", "has_zero_point", "is_dequantizer", "is_quantizer", "read_quantizer"]

_QUANTIZERS = frozenset({"QuantizeLinear", "com.microsoft:QuantizeLinear"})
_DEQUANTIZERS = frozenset({"DequantizeLinear", "com.microsoft:DequantizeLinear"})


def is_quantizer(node: gs.Node) -> bool:
    """Whether a node is QuantizeLinear, of ONNX or of ONNX Runtime's own domain."""
    return kind(node) in _QUANTIZERS


def is_dequantizer(node: gs.Node) -> bool:
    """Whether a node is DequantizeLinear, of ONNX or of ONNX Runtime's own domain."""
    return kind(node) in _DEQUANTIZERS


@dataclass(frozen=True)
class Quantizer:
    """A Q or DQ node.

    Attributes:
        node: the node.
        scale: its scale as float32, of any shape.
        zero: its zero-point; where the node has none, a zero of the type that ONNX then assumes (uint8 for Q).
        axis: the axis that the scales run along, when there are several.
        dtype: the float type of the scale, which is what a DQ makes.
    """

    node: gs.Node
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    dtype: np.dtype

    @property
    def per_tensor(self) -> bool:
        """Whether there is a single scale."""
        return self.scale.size == 1

    def threshold(self) -> float:
        """The largest magnitude that the quantized type can represent, over all slices.

        (q - zero) * scale at both ends of the type; int8 counts without -128, as TensorRT clips.
        """
        info = np.iinfo(self.zero.dtype)
        zero = self.zero.astype(np.int64)
        low = -info.max if info.min < 0 and not zero.any() else info.min
        if self.zero.dtype == np.uint8 and (zero == 128).all():
            low = 1
        reach = np.maximum(np.abs(low - zero), np.abs(info.max - zero))
        return float(np.max(self.scale.astype(np.float64) * reach))

    def symmetric_scale(self) -> tuple[float, bool]:
        """The scale of a symmetric INT8 tensor that covers the range, and whether its grid is the same.

        It is the same for int8 with zero-point 0 and for uint8 with zero-point 128; anything else is covered
        by threshold / 127.
        """
        signed = self.zero.dtype == np.int8 and not self.zero.any()
        same = signed or (self.zero.dtype == np.uint8 and bool((self.zero == 128).all()))
        if same:
            return float(np.float32(self.scale.max())), self.per_tensor
        return float(np.float32(self.threshold()) / np.float32(127)), False

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """(q - zero) * scale, computed in float32, in the shape of `values`."""
        shape = [1] * values.ndim
        if self.scale.size > 1:
            shape[self.axis % max(values.ndim, 1)] = -1
        zero = self.zero.astype(np.float64).reshape(shape if self.zero.size > 1 else ())
        scale = self.scale.reshape(shape if self.scale.size > 1 else ())
        return np.asarray((values.astype(np.float64) - zero).astype(np.float32) * scale, self.dtype)


def read_quantizer(node: gs.Node, constants: Constants) -> Quantizer | None:
    """Reads a Q or DQ node; None when its scale is missing, or when scale or zero-point are not constant."""
    if not has_scale(node):
        return None
    scale = constants.value(node.inputs[1])
    zero: np.ndarray | None = np.zeros((), _implied_type(node))
    if has_zero_point(node):
        zero = constants.value(node.inputs[2])
    if scale is None or zero is None:
        return None
    return Quantizer(node, np.asarray(scale, np.float32), zero, int(node.attrs.get("axis", 1)), scale.dtype)


def has_scale(node: gs.Node) -> bool:
    """Whether a Q or DQ node has a scale, as ONNX requires."""
    return len(node.inputs) > 1 and bool(node.inputs[1].name)


def has_zero_point(node: gs.Node) -> bool:
    """Whether a Q or DQ node states its zero-point."""
    return len(node.inputs) > 2 and bool(node.inputs[2].name)


def _implied_type(node: gs.Node) -> np.dtype:
    if is_quantizer(node):
        # Since opset 21 `output_dtype` can name the type without a zero-point.
        return np.dtype(np.int8) if node.attrs.get("output_dtype") == TensorProto.INT8 else np.dtype(np.uint8)
    return numpy_type(node.inputs[0]) or np.dtype(np.int8)
