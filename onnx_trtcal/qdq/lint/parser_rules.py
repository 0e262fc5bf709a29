"""The rules for Q/DQ nodes: what TensorRT refuses, what it builds without INT8, and what only newer parsers take.

Sources: onnx-tensorrt, QuantDequantLinearHelper in onnxOpImporters.cpp (TensorRT 8 to 10), and models with one fault
each, built with the compiler of TensorRT for RTX 1.7 (the TensorRT 11 family).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import QUANTIZED
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.lint.channel_rules import per_channel_faults, weight_shape
from onnx_trtcal.qdq.lint.faults import Fault, finding_of, limited, not_int8, refused
from onnx_trtcal.qdq.lint.readers import layers_behind
from onnx_trtcal.qdq.lint.type_rules import type_faults
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

    from onnx_trtcal.qdq.lint.finding import Finding

__all__ = ["ParserFindings", "parser_findings"]

_TYPES = frozenset({"int8", "int4", "float8_e4m3fn", "float4_e2m1fn"})
_SCALE_TYPES = frozenset({"float32", "float16", "bfloat16"})
_FIRST_OPSET, _PER_CHANNEL_OPSET, _FLOAT16_OPSET = 10, 13, 19
_ORDER = ("error", "float", "limited")


@dataclass(frozen=True)
class ParserFindings:
    """Findings, and the number of Q/DQ nodes and quantized operators that were checked."""

    findings: tuple[Finding, ...]
    quantized_nodes: int


def parser_findings(graph: gs.Graph) -> ParserFindings:
    """Every violation in a graph and its subgraphs, the gravest first, each level in graph order."""
    findings: list[Finding] = []
    count = 0
    constants = Constants(graph, opaque=QUANTIZED)
    for part in (graph, *graph.subgraphs(recursive=True)):
        for node in part.nodes:
            count += kind(node) in QUANTIZED
            faults = [*_faults(node, graph.opset, constants), *type_faults(node, constants)]
            findings += [finding_of(fault, node) for fault in faults]
    findings.sort(key=lambda finding: _ORDER.index(finding.level))
    return ParserFindings(tuple(findings), count)


def _faults(node: gs.Node, opset: int, constants: Constants) -> Iterator[Fault]:
    if kind(node) not in QUANTIZED:
        return
    if not is_quantizer(node) and not is_dequantizer(node):
        yield refused("unsupported-op", f"{kind(node)} is not an operator that TensorRT imports")
        return
    if kind(node) != node.op:
        yield limited("microsoft-domain", f"it is ONNX Runtime's {kind(node)}")
    elif opset < _FIRST_OPSET:
        yield limited("opset", f"{node.op} exists since opset {_FIRST_OPSET}; the model has {opset}")
    if not has_scale(node):
        yield refused("scale-missing", "it has no scale")
        return
    quantizer = read_quantizer(node, constants)
    if quantizer is None:
        yield from _computed(node, constants)
        return
    yield from _zero_point(node, quantizer)
    yield from _scale(quantizer)
    yield from _shape(node, quantizer, constants)
    if kind(node) == node.op:
        yield from _opset(quantizer, opset)
    if not quantizer.per_tensor:
        yield from per_channel_faults(node, quantizer, constants)


def _computed(node: gs.Node, constants: Constants) -> Iterator[Fault]:
    if constants.value(node.inputs[1]) is None:
        fault = refused if layers_behind(node) else limited
        yield fault("scale-constant", "its scale is computed; it must be a constant")
    if has_zero_point(node) and constants.value(node.inputs[2]) is None:
        yield refused("zero-point-constant", "its zero-point is computed; it must be a constant")


def _zero_point(node: gs.Node, quantizer: Quantizer) -> Iterator[Fault]:
    zero, stated = quantizer.zero, has_zero_point(node)
    found = f"its zero-point is {zero.dtype}" if stated else f"it has no zero-point, which means {zero.dtype}"
    if np.asarray(zero, np.float32).any():
        yield refused("zero-point-value", "its zero-point is not 0; TensorRT only quantizes symmetrically")
    elif zero.dtype.name == "float8_e4m3fn":
        yield limited(
            "fp8",
            "it quantizes to FP8 (E4M3), not to INT8",
            "it builds for SM89 (Ada) and later GPUs; those before are refused",
        )
    elif zero.dtype.name == "uint8":
        yield limited("zero-point-type", f"{found}; give an int8 zero-point of zeros")
    elif zero.dtype.name not in _TYPES:
        yield refused("zero-point-type", f"{found}; give an int8 zero-point of zeros")
    data = node.inputs[0]
    # What a Q makes may be called uint8, but stored or given integers may not be.
    if is_dequantizer(node) and not data.inputs and _type_name(data.dtype) == "uint8":
        yield refused("data-type", "its data is uint8; TensorRT reads int8")
    if stated and zero.size != quantizer.scale.size:
        yield refused("sizes", f"it has {quantizer.scale.size} scales and {zero.size} zero-points")
    output_type = node.attrs.get("output_dtype", 0)
    if is_quantizer(node) and stated and output_type:
        wanted = helper.tensor_dtype_to_np_dtype(output_type)
        if wanted != zero.dtype:
            yield refused("output-dtype", f"its output_dtype is {wanted} and its zero-point {zero.dtype}")


def _scale(quantizer: Quantizer) -> Iterator[Fault]:
    scale = quantizer.scale
    if quantizer.dtype.name not in _SCALE_TYPES:
        yield limited("scale-type", f"its scale is {quantizer.dtype}; make it float32")
    bad = scale[~(scale > 0)].ravel()
    if bad.size:
        yield refused(
            "scale-positive",
            f"{bad.size} of its {scale.size} scales are not positive, for example {bad[0]:g}",
        )
    elif not np.isfinite(scale).all():
        yield limited("scale-positive", "it has an infinite scale, which makes every value 0")


def _shape(node: gs.Node, quantizer: Quantizer, constants: Constants) -> Iterator[Fault]:
    """One scale may be a scalar anywhere; in a list of its own it costs a convolution its INT8."""
    shape = quantizer.scale.shape
    if len(shape) > 1 and not int(node.attrs.get("block_size", 0)):
        yield refused("scale-shape", f"its scale has the shape {list(shape)}; make it a scalar or a list")
    elif shape == (1,) and is_dequantizer(node) and weight_shape(node, constants) is None:
        reader = next((each for each in layers_behind(node) if each.op == "Conv"), None)
        if reader is not None:
            label = reader.name or reader.outputs[0].name
            yield not_int8(
                "scale-shape", f"its scale has the shape [1], and Conv {label!r} reads it; make it a scalar"
            )


def _opset(quantizer: Quantizer, opset: int) -> Iterator[Fault]:
    if not quantizer.per_tensor and _FIRST_OPSET <= opset < _PER_CHANNEL_OPSET:
        yield limited("opset", f"scales per channel need opset {_PER_CHANNEL_OPSET}; the model has {opset}")
    if quantizer.dtype == np.float16 and _FIRST_OPSET <= opset < _FLOAT16_OPSET:
        yield limited("opset", f"a float16 scale needs opset {_FLOAT16_OPSET}; the model has {opset}")


def _type_name(dtype: Any) -> str:
    """The name of a type as graph-surgeon has it: none, a numpy type, or a number of onnx.TensorProto."""
    if dtype is None:
        return ""
    if isinstance(dtype, int):
        return str(onnx.TensorProto.DataType.Name(dtype)).lower()
    return str(np.dtype(dtype).name)
