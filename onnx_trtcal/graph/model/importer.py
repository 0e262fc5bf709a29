"""From an ONNX model to a graph-surgeon graph, without loss.

graph-surgeon's own importer drops what it has no noun for (metadata, inputs that are initializers, attributes
of rarer types) and copies outer weights into subgraphs. Here every imported node keeps the NodeProto it came
from, so that an export (`exporter`) can copy whatever the graph did not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, helper

from onnx_trtcal.graph.model.order import distinct_names, sorted_nodes
from onnx_trtcal.graph.model.weights import Weight, WeightValues
from onnx_trtcal.graph.ops import is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx_trtcal.graph.model.load import Model

__all__ = ["ImportedNode", "import_graph"]


class ImportedNode(gs.Node):
    """A node of the original model, with the NodeProto it came from and the attributes it had then."""

    source: onnx.NodeProto
    imported: Mapping[str, Any]


def import_graph(model: Model) -> gs.Graph:
    """A fresh graph-surgeon graph of a model.

    Weights are read when asked for and never changed in place (see `Weight`). Initializers are constants even
    where they are graph inputs as well, as TensorRT takes them. Nodes come in an order that can run. Tensors
    carry the element types and shapes of `model`. Subgraphs are gs.Graph attributes that share the tensors
    they take from outside, so that those tensors list the inner nodes among their consumers. A node name that
    occurs again gets a number, as ONNX Runtime would refuse it.
    """
    proto = model.proto
    opset = max(
        (entry.version for entry in proto.opset_import if is_standard_domain(entry.domain)), default=1
    )
    importer = _Importer(model.directory, opset)
    tensors: dict[str, gs.Tensor] = {}
    graph = importer.graph(proto.graph, {}, tensors)
    for name, tensor in tensors.items():
        if isinstance(tensor, gs.Variable) and model.elem_types.get(name):
            tensor.dtype = _dtype(model.elem_types[name])
            shape = model.shapes.get(name)
            tensor.shape = None if shape is None else list(shape)
    graph.import_domains = list(proto.opset_import)
    graph.producer_name = proto.producer_name
    graph.producer_version = proto.producer_version
    graph.ir_version = proto.ir_version
    return graph


class _Importer:
    def __init__(self, directory: Path | None, opset: int) -> None:
        self.directory = directory
        self.opset = opset

    def graph(
        self, proto: onnx.GraphProto, outer: Mapping[str, gs.Tensor], own: dict[str, gs.Tensor]
    ) -> gs.Graph:
        """Imports a graph; `own` is filled with the tensors that belong to it."""
        for tensor in proto.initializer:
            own.setdefault(tensor.name, Weight(tensor.name, WeightValues(tensor, self.directory)))
        for sparse in proto.sparse_initializer:
            own.setdefault(
                sparse.values.name, Weight(sparse.values.name, WeightValues(sparse, self.directory))
            )
        weights = set(own)
        for value in (*proto.input, *proto.output, *proto.value_info):
            if value.name not in own:
                own[value.name] = _variable(value)
        # All outputs first: a subgraph then finds every outer tensor, wherever its producer stands.
        for node in proto.node:
            for name in node.output:
                if name and name not in own:
                    own[name] = gs.Variable(name)
        ordered = sorted_nodes(proto.node)
        nodes = [self.node(node, outer, own) for node in ordered]
        for made, distinct in zip(nodes, distinct_names(ordered), strict=True):
            made.name = distinct
        return gs.Graph(
            nodes=nodes,
            inputs=[own[value.name] for value in proto.input if value.name not in weights],
            outputs=[own[value.name] for value in proto.output],
            name=proto.name,
            doc_string=proto.doc_string,
            opset=self.opset,
        )

    def node(
        self, proto: onnx.NodeProto, outer: Mapping[str, gs.Tensor], own: dict[str, gs.Tensor]
    ) -> gs.Node:
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            value = self.attribute(attribute, {**outer, **own} if attribute.HasField("g") else {})
            if value is not None:
                attributes[attribute.name] = value
        node = ImportedNode(
            op=proto.op_type,
            name=proto.name,
            attrs=attributes,
            inputs=[_tensor(name, outer, own) for name in proto.input],
            outputs=[own[name] if name else gs.Variable.empty() for name in proto.output],
            domain=proto.domain or None,
        )
        node.source = proto
        node.imported = dict(attributes)
        return node

    def attribute(self, proto: onnx.AttributeProto, outer: Mapping[str, gs.Tensor]) -> Any:
        """An attribute's value; None for the types that graph-surgeon has no form for."""
        if proto.ref_attr_name:
            return None
        kind = proto.type
        if kind == AttributeProto.TENSOR:
            return Weight(proto.t.name, WeightValues(proto.t, self.directory))
        if kind == AttributeProto.SPARSE_TENSOR:
            return Weight(proto.sparse_tensor.values.name, WeightValues(proto.sparse_tensor, self.directory))
        if kind == AttributeProto.GRAPH:
            return self.graph(proto.g, outer, {})
        if kind == AttributeProto.STRING:
            return _text(proto.s)
        if kind == AttributeProto.STRINGS:
            return [_text(text) for text in proto.strings]
        if kind in (AttributeProto.FLOAT, AttributeProto.INT):
            return helper.get_attribute_value(proto)
        if kind in (AttributeProto.FLOATS, AttributeProto.INTS):
            return list(helper.get_attribute_value(proto))
        return None


def _tensor(name: str, outer: Mapping[str, gs.Tensor], own: dict[str, gs.Tensor]) -> gs.Tensor:
    if not name:
        return gs.Variable.empty()
    if name in own:
        return own[name]
    if name in outer:
        return outer[name]
    return own.setdefault(name, gs.Variable(name))


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _dtype(elem_type: int) -> Any:
    return helper.tensor_dtype_to_np_dtype(elem_type) if elem_type else None


def _variable(value: onnx.ValueInfoProto) -> gs.Variable:
    kind = value.type.WhichOneof("value") or "tensor_type"
    if kind != "tensor_type":
        return gs.Variable(value.name, type=kind)
    shape = None
    if value.type.tensor_type.HasField("shape"):
        shape = [
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in value.type.tensor_type.shape.dim
        ]
    return gs.Variable(value.name, dtype=_dtype(value.type.tensor_type.elem_type), shape=shape)
