"""The element type and shape of every tensor of a model's main graph."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from onnx_trtcal.graph.model.external import is_external
from onnx_trtcal.graph.model.order import distinct_names, sorted_nodes
from onnx_trtcal.graph.ops import FLOATS, is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Shape", "TensorTypes", "guess_types", "infer_types", "skeleton", "with_outputs"]

logger = logging.getLogger(__name__)

Shape = tuple[int | str | None, ...]

# Constants up to this many elements may be the shapes, axes and pads that shape inference reads.
_SMALL = 1024


@dataclass(frozen=True)
class TensorTypes:
    """What is known of the tensors of a main graph.

    Attributes:
        elem_types: tensor -> `onnx.TensorProto` element type; 0 for what is not a tensor (a sequence, a map).
        shapes: tensor -> its shape, None when not even the rank is known.
        unknown: node outputs whose element type could not be inferred.
    """

    elem_types: Mapping[str, int]
    shapes: Mapping[str, Shape | None]
    unknown: tuple[str, ...]


def infer_types(proto: onnx.ModelProto, assumed: Mapping[str, int] = MappingProxyType({})) -> TensorTypes:
    """Infers types and shapes with onnx's own inference; the weights take no part in it and are not copied.

    What the model itself states counts where inference is silent. Never raises.

    Args:
        proto: the model.
        assumed: element types to assume for tensors of which nothing is known.
    """
    elem_types: dict[str, int] = {}
    shapes: dict[str, Shape | None] = {}

    def note(name: str, elem_type: int, shape: Shape | None) -> None:
        elem_types[name] = elem_types.get(name) or elem_type
        shapes[name] = shape if shapes.get(name) is None else shapes[name]

    for tensor in proto.graph.initializer:
        note(tensor.name, tensor.data_type, tuple(tensor.dims))
    for sparse in proto.graph.sparse_initializer:
        note(sparse.values.name, sparse.values.data_type, tuple(sparse.dims))
    light = skeleton(proto)
    for name, elem_type in assumed.items():
        value = light.graph.value_info.add(name=name)
        value.type.tensor_type.elem_type = elem_type
    inferred = _onnx_inference(light).graph
    other = set()
    for graph in (inferred, proto.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.WhichOneof("value")
            if kind == "tensor_type":
                note(value.name, value.type.tensor_type.elem_type, _shape(value.type.tensor_type))
            elif kind is not None:
                other.add(value.name)
    outputs = dict.fromkeys(name for node in proto.graph.node for name in node.output if name)
    for name in other | set(outputs):
        note(name, 0, None)
    unknown = tuple(name for name in outputs if not elem_types[name] and name not in other)
    return TensorTypes(elem_types, shapes, unknown)


def guess_types(proto: onnx.ModelProto, known: TensorTypes) -> TensorTypes:
    """As `infer_types`, with guesses for what operators make that neither onnx nor a runtime knows.

    Such an operator, a TensorRT plugin for one, is taken to make what its first float input is.
    """
    assumed: dict[str, int] = {}
    while True:
        fresh: dict[str, int] = {}
        for node in proto.graph.node:
            unknown = [name for name in node.output if name in known.unknown and name not in assumed]
            if not unknown or onnx.defs.has(node.op_type, node.domain):
                continue
            types = [known.elem_types.get(name, 0) for name in node.input]
            first = next((each for each in types if each in FLOATS), 0)
            fresh.update(dict.fromkeys(unknown, first) if first else {})
        if not fresh:
            return known
        assumed |= fresh
        known = infer_types(proto, assumed)


def skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in which every large constant has become an input, its nodes in running order.

    Types and shapes follow from it as they do from the model, at a cost that no weight adds to.
    """
    copy = onnx.ModelProto(ir_version=proto.ir_version)
    copy.opset_import.extend(proto.opset_import)
    # A domain that is not imported would keep onnx from inferring anything at all.
    imported = {entry.domain for entry in proto.opset_import}
    others = {node.domain for node in proto.graph.node if not is_standard_domain(node.domain)} - imported
    copy.opset_import.extend(helper.make_opsetid(domain, 1) for domain in sorted(others))
    copy.functions.extend(proto.functions)
    graph = copy.graph
    graph.name = proto.graph.name or "graph"
    graph.input.extend(proto.graph.input)
    graph.output.extend(proto.graph.output)
    graph.value_info.extend(proto.graph.value_info)
    graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    declared = {value.name for value in graph.input}

    def declare(name: str, tensor: onnx.TensorProto) -> None:
        if name not in declared:
            declared.add(name)
            graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))

    for tensor in proto.graph.initializer:
        if _is_small(tensor):
            graph.initializer.append(tensor)
        else:
            declare(tensor.name, tensor)
    ordered = sorted_nodes(proto.graph.node)
    for node, name in zip(ordered, distinct_names(ordered), strict=True):
        value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        if node.op_type == "Constant" and value is not None and not _is_small(value):
            declare(node.output[0], value)
        else:
            graph.node.append(node)
            if name != node.name:
                graph.node[-1].name = name
    return copy


def with_outputs(proto: onnx.ModelProto, names: Iterable[str]) -> bytes:
    """The serialised model with the named tensors as further outputs, of a type that the runtime finds out.

    Joining serialised messages merges them, so that the model itself is not copied for it.
    """
    extra = onnx.ModelProto()
    extra.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(proto.SerializeToString() + extra.SerializeToString())


def _is_small(tensor: onnx.TensorProto) -> bool:
    return not is_external(tensor) and math.prod(tensor.dims) <= _SMALL


def _shape(type_proto: onnx.TypeProto.Tensor) -> Shape | None:
    if not type_proto.HasField("shape"):
        return None
    dims: list[int | str | None] = []
    for dim in type_proto.shape.dim:
        kind = dim.WhichOneof("value")
        if kind == "dim_value":
            dims.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            dims.append(dim.dim_param or None if kind == "dim_param" else None)
    return tuple(dims)


def _onnx_inference(proto: onnx.ModelProto) -> onnx.ModelProto:
    for data_prop in (True, False):
        try:
            return onnx.shape_inference.infer_shapes(proto, data_prop=data_prop)
        except Exception as error:  # noqa: BLE001 (of a damaged model it raises whatever its own parts do)
            logger.debug("shape inference failed: %s", error)
    return proto
