"""TensorRT's parser rules for Q/DQ nodes: what it refuses.

Source: onnx-tensorrt, QuantDequantLinearHelper in onnxOpImporters.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import KEEPS_AXES, QUANTIZED
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.lint.finding import Finding, ParserRule
from onnx_trtcal.qdq.place.layer_rules import is_layer, weight_axis
from onnx_trtcal.qdq.read.quantizer import (
    Quantizer,
    has_scale,
    has_zero_point,
    is_dequantizer,
    is_quantizer,
    read_quantizer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_graphsurgeon as gs

__all__ = ["ParserFindings", "parser_findings"]

_Fault = tuple[ParserRule, str]
_PAIRS = ("QuantizeLinear", "DequantizeLinear")
_TYPES = frozenset({"int8", "int4", "float8_e4m3fn", "float4_e2m1fn"})
_SCALE_TYPES = frozenset({"float32", "float16", "bfloat16"})
_REFUSED = "TensorRT's parser refuses the model"
_FIRST_OPSET, _PER_CHANNEL_OPSET, _FLOAT16_OPSET = 10, 13, 19


@dataclass(frozen=True)
class ParserFindings:
    """Errors, and the number of Q/DQ nodes and quantized operators that were checked."""

    findings: tuple[Finding, ...]
    quantized_nodes: int


def parser_findings(graph: gs.Graph) -> ParserFindings:
    """Every violation of the parser's rules in a graph and its subgraphs, in graph order."""
    findings: list[Finding] = []
    count = 0
    constants = Constants(graph, opaque=QUANTIZED)
    for part in (graph, *graph.subgraphs(recursive=True)):
        for node in part.nodes:
            if kind(node) not in QUANTIZED:
                continue
            count += 1
            if kind(node) in _PAIRS:
                faults = _faults(node, graph.opset, constants)
            else:
                faults = iter([("unsupported-op", f"{kind(node)} is not an operator that TensorRT imports")])
            label = node.name or (node.outputs[0].name if node.outputs else node.op)
            findings += [Finding("error", rule, label, what, _REFUSED) for rule, what in faults]
    return ParserFindings(tuple(findings), count)


def _faults(node: gs.Node, opset: int, constants: Constants) -> Iterator[_Fault]:
    if opset < _FIRST_OPSET:
        yield "opset", f"{node.op} exists since opset {_FIRST_OPSET}; the model has {opset}"
    if not has_scale(node):
        yield "scale-missing", "it has no scale"
        return
    quantizer = read_quantizer(node, constants)
    if quantizer is None:
        if constants.value(node.inputs[1]) is None:
            yield "scale-constant", "its scale is computed; it must be a constant"
        if has_zero_point(node) and constants.value(node.inputs[2]) is None:
            yield "zero-point-constant", "its zero-point is computed; it must be a constant"
        return
    yield from _zero_point(node, quantizer)
    yield from _scale(quantizer, opset)
    if not quantizer.per_tensor:
        yield from _per_channel(node, quantizer, constants)
    if _type_name(node.inputs[0].dtype) == "uint8" and quantizer.zero.dtype != np.uint8:
        yield "data-type", "its data is uint8; TensorRT reads int8"


def _zero_point(node: gs.Node, quantizer: Quantizer) -> Iterator[_Fault]:
    zero, stated = quantizer.zero, has_zero_point(node)
    if zero.dtype.name not in _TYPES:
        found = (
            f"its zero-point is {zero.dtype}" if stated else f"it has no zero-point, which means {zero.dtype}"
        )
        yield "zero-point-type", f"{found}; give an int8 zero-point of zeros"
    elif np.asarray(zero, np.float32).any():
        yield "zero-point-value", "its zero-point is not 0; TensorRT only quantizes symmetrically"
    if stated and zero.size != quantizer.scale.size:
        yield "sizes", f"it has {quantizer.scale.size} scales and {zero.size} zero-points"
    output_type = node.attrs.get("output_dtype", 0)
    if node.op == "QuantizeLinear" and stated and output_type:
        wanted = helper.tensor_dtype_to_np_dtype(output_type)
        if wanted != zero.dtype:
            yield "output-dtype", f"its output_dtype is {wanted} and its zero-point {zero.dtype}"


def _scale(quantizer: Quantizer, opset: int) -> Iterator[_Fault]:
    scale = quantizer.scale
    if quantizer.dtype.name not in _SCALE_TYPES:
        yield "scale-type", f"its scale is {quantizer.dtype}; make it float32"
    bad = scale[~(np.isfinite(scale) & (scale > 0))].ravel()
    if bad.size:
        yield (
            "scale-positive",
            f"{bad.size} of its {scale.size} scales are not positive, for example {bad[0]:g}",
        )
    if not quantizer.per_tensor and _FIRST_OPSET <= opset < _PER_CHANNEL_OPSET:
        yield "opset", f"scales per channel need opset {_PER_CHANNEL_OPSET}; the model has {opset}"
    if quantizer.dtype == np.float16 and _FIRST_OPSET <= opset < _FLOAT16_OPSET:
        yield "opset", f"a float16 scale needs opset {_FLOAT16_OPSET}; the model has {opset}"


def _per_channel(node: gs.Node, quantizer: Quantizer, constants: Constants) -> Iterator[_Fault]:
    shape, axis, count = _weight_shape(node, constants), quantizer.axis, quantizer.scale.size
    if shape is None:
        yield (
            "per-channel-activation",
            f"it has {count} scales on an activation; only weights may have several",
        )
        return
    if int(node.attrs.get("block_size", 0)):
        return
    if "axis" not in node.attrs:
        yield "axis-missing", "it has no axis: ONNX then takes axis 1, TensorRT's parser axis 0"
    if not -len(shape) <= axis < len(shape):
        yield "axis", f"axis {axis} does not exist in a weight of {len(shape)} dimensions"
    elif shape[axis] != count:
        yield "axis", f"it has {count} scales, but axis {axis} of its weight has {shape[axis]} slices"
    elif "axis" in node.attrs:
        yield from _channels(node, axis % len(shape), len(shape))


def _channels(node: gs.Node, axis: int, rank: int) -> Iterator[_Fault]:
    """Whether the scales run along the output channels of every layer that reads the weight."""
    pending = [(tensor, axis) for tensor in node.outputs]
    while pending:
        tensor, at = pending.pop()
        for reader in tensor.outputs:
            index = next(i for i, each in enumerate(reader.inputs) if each is tensor)
            if is_layer(reader) and index < 2:
                wanted = weight_axis(reader, index, rank)
                if wanted not in (None, at):
                    label = reader.name or reader.outputs[0].name
                    what = f"its scales are along axis {at} of the weight that {reader.op} {label!r} reads"
                    yield "channel-axis", f"{what}, whose output channels are axis {wanted}"
            elif is_quantizer(reader) or is_dequantizer(reader) or kind(reader) in KEEPS_AXES:
                pending += [(each, at) for each in reader.outputs]
            elif kind(reader) == "Transpose":
                order = list(reader.attrs.get("perm", range(rank)[::-1]))
                pending += [(each, order.index(at)) for each in reader.outputs]


def _weight_shape(node: gs.Node, constants: Constants) -> tuple[int, ...] | None:
    """The shape of the weight a Q or DQ works on; None when it works on an activation."""
    tensor = node.inputs[0]
    while len(tensor.inputs) == 1 and kind(tensor.inputs[0]) == "QuantizeLinear" and tensor.inputs[0].inputs:
        tensor = tensor.inputs[0].inputs[0]
    return constants.shape(tensor)


def _type_name(dtype: Any) -> str:
    """The name of a type as graph-surgeon has it: none, a numpy type, or a number of onnx.TensorProto."""
    if dtype is None:
        return ""
    if isinstance(dtype, int):
        return str(onnx.TensorProto.DataType.Name(dtype)).lower()
    return str(np.dtype(dtype).name)
