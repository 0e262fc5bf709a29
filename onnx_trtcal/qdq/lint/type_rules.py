"""The rules for types: a DQ makes the type of its scale, and what it meets must have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from onnx_trtcal.graph.ops import COMMUTES
from onnx_trtcal.graph.view import kind, numpy_type, stored
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.qdq.lint.faults import Fault, limited, refused
from onnx_trtcal.qdq.lint.readers import layers_behind
from onnx_trtcal.qdq.place.layer_rules import is_layer
from onnx_trtcal.qdq.read.quantizer import Quantizer, is_dequantizer, read_quantizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["type_faults"]

_ALIKE = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "Sub", "Sum"})


def type_faults(node: gs.Node, constants: Constants) -> Iterator[Fault]:
    """The faults of a node that reads different types, or of a DQ of one stored value."""
    if is_dequantizer(node):
        yield from _scalar(node)
        return
    layer = is_layer(node)
    if not layer and kind(node) not in _ALIKE:
        return
    read = node.inputs[:2] if layer else node.inputs
    types = {name for name in (_float_type(tensor, constants) for tensor in read) if name}
    if len(types) > 1:
        what = f"it reads {' and '.join(sorted(types))}; a DQ makes the type of its scale"
        yield refused("mixed-types", f"{what}, and all inputs need one type")
    if layer:
        yield from _grids(node, [_quantizer(tensor, constants) for tensor in read])


def _grids(node: gs.Node, quantized: list[Quantizer | None]) -> Iterator[Fault]:
    """The faults of a layer whose inputs are quantized to different types.

    The compiler widens INT4 weights of a matrix product to INT8 where they have several scales, and nowhere else.
    """
    grids = [each.zero.dtype.name.removeprefix("u") for each in quantized if each is not None]
    if len(set(grids)) < 2:
        return
    several = any(each is not None and not each.per_tensor for each in quantized)
    widened = several and set(grids) == {"int4", "int8"} and not WEIGHTED[kind(node)].convolution
    fault = limited if widened else refused
    yield fault(
        "mixed-types", f"one of its inputs is quantized to {' and the other to '.join(sorted(grids))}"
    )


def _scalar(node: gs.Node) -> Iterator[Fault]:
    """TensorRT's builder reads a stored integer of rank 0 without its DQ."""
    held = stored(node.inputs[0])
    if held is not None and len(held.shape) == 0 and not layers_behind(node):
        yield refused(
            "scalar-constant",
            "it dequantizes a stored value of rank 0; give it the shape [1], or store a float",
        )


def _float_type(tensor: gs.Tensor, constants: Constants) -> str:
    """The name of the float type that TensorRT gives a tensor; empty for other types, and where it is not known."""
    seen: set[str] = set()
    while len(tensor.inputs) == 1 and tensor.name not in seen:
        seen.add(tensor.name)
        maker = tensor.inputs[0]
        if is_dequantizer(maker):
            stated = maker.attrs.get("output_dtype", 0)
            if stated:
                return str(helper.tensor_dtype_to_np_dtype(stated).name)
            quantizer = read_quantizer(maker, constants)
            return "" if quantizer is None else str(quantizer.dtype.name)
        if kind(maker) not in COMMUTES:
            break
        tensor = maker.inputs[0]
    dtype = numpy_type(tensor)
    return str(dtype.name) if dtype is not None and np.issubdtype(dtype, np.floating) else ""


def _quantizer(tensor: gs.Tensor, constants: Constants) -> Quantizer | None:
    """The DQ that makes a tensor."""
    maker = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    return read_quantizer(maker, constants) if maker is not None and is_dequantizer(maker) else None
