"""Gives simulated INT8 its small weights in float, as the DequantizeLinear behind each of them makes them.

ONNX Runtime folds these nodes itself, and takes longer to load a model the more nodes there are: version 1.31 spends
9.8 s of processor time on 2,500 quantized convolutions of 8 channels, and 4.0 s on the same without their weights'
nodes. Few large weights are another matter: it folds those as fast, and keeps the floats no longer than it needs them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnx_trtcal.graph.model.external import is_external
from onnx_trtcal.graph.model.nodes import graphs_of
from onnx_trtcal.graph.model.refill import refill
from onnx_trtcal.graph.model.split import SMALL_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["float_weights"]

_INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8})
_PLAIN = frozenset({"axis"})  # attributes; blocks of scales and other types are left to ONNX Runtime


def float_weights(model_bytes: bytes) -> bytes:
    """The model with small 8-bit weights dequantized to float32, in the arithmetic of ONNX Runtime's node.

    Args:
        model_bytes: a serialised model; weights that it only declares are left as they are.

    Returns:
        The same bytes where no such weight is.
    """
    model = onnx.ModelProto.FromString(model_bytes)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if not is_external(tensor)}
    given = {output.name for output in graph.output}
    nodes, made = [], []
    for node in graph.node:
        values = None if given.intersection(node.output) else _dequantized(node, stored)
        if values is None:
            nodes.append(node)
        else:
            made.append(numpy_helper.from_array(values, node.output[0]))
    if not made:
        return model_bytes
    refill(graph.node, nodes)
    read = {name for each in graphs_of(graph) for node in each.node for name in node.input} | given
    refill(graph.initializer, [*(each for each in graph.initializer if each.name in read), *made])
    return bytes(model.SerializeToString())


def _dequantized(node: onnx.NodeProto, stored: Mapping[str, TensorProto]) -> np.ndarray | None:
    """float32, what a node makes; None unless it dequantizes a small 8-bit weight by scales that are stored, too."""
    if node.op_type != "DequantizeLinear" or node.domain or {each.name for each in node.attribute} - _PLAIN:
        return None
    names = [name for name in node.input if name]
    tensors = [stored[name] for name in names if name in stored]
    if len(tensors) < len(names) or not _is_small(tensors[0]):
        return None
    integers, scale, *rest = (numpy_helper.to_array(tensor) for tensor in tensors)
    zero = rest[0] if rest else np.zeros(scale.shape, integers.dtype)
    if scale.dtype != np.float32 or zero.shape != scale.shape:
        return None
    shape = [1] * integers.ndim
    if scale.size > 1:
        axis = next((each.i for each in node.attribute), 1)
        if scale.ndim > 1 or not -integers.ndim <= axis < integers.ndim or integers.shape[axis] != scale.size:
            return None
        shape[axis] = scale.size
    steps = integers.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):
        values: np.ndarray = steps * scale.reshape(shape)
    return values


def _is_small(tensor: TensorProto) -> bool:
    return tensor.data_type in _INTEGERS and 4 * math.prod(tensor.dims) < SMALL_BYTES
