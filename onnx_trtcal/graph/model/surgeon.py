"""Between an ONNX model and a graph-surgeon graph, without loss.

graph-surgeon's own importer and exporter drop what they have no noun for (metadata, inputs that are
initializers, attributes of rarer types) and copy outer weights into subgraphs. Here every imported node keeps
the NodeProto it came from, and an export starts from the original model: what the graph did not change is
copied from there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter, dtype_to_onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnx_trtcal.graph.model.external import is_external, reference, tensor_nbytes
from onnx_trtcal.graph.model.order import distinct_names, reads, sorted_nodes
from onnx_trtcal.graph.model.weights import SpilledValues, Weight, WeightValues, to_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.graph.model.load import Model

__all__ = ["ImportedNode", "Split", "export_model", "import_graph", "split_model"]

# Up to here a session gets its weights inside the model; beyond, by reference, so that they are not copied.
INLINE_BYTES = 32 << 20
# A weight smaller than this is not worth a reference.
SMALL_BYTES = 1 << 16


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
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
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
        for node, name in zip(nodes, distinct_names(ordered), strict=True):
            node.name = name
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


@dataclass(frozen=True)
class Split:
    """A model and the weights that are not in it.

    Attributes:
        proto: the model; unchanged external weights stay where they are.
        arrays: initializers that `proto` only declares, to be given to a session by name
            (`SessionOptions.add_external_initializers`).
        directory: the folder that external weights are found in: the original model's, or the temporary one
            of weights that `spill` moved, which has the original's files too.
    """

    proto: onnx.ModelProto
    arrays: Mapping[str, np.ndarray]
    directory: Path | None


def export_model(graph: gs.Graph, model: Model) -> onnx.ModelProto:
    """The graph as a model that keeps everything of the original that the graph did not change.

    Weights nobody assigned to are exported as they were stored: those in external files stay references into
    `model.directory`. Initializers that lost their last consumer go, those that never had one stay. Up to
    IR 3 new initializers are declared as inputs, as that version demands.
    """
    return split_model(graph, model, inline_bytes=sys.maxsize).proto


def split_model(graph: gs.Graph, model: Model, inline_bytes: int = INLINE_BYTES) -> Split:
    """As `export_model`, but without copying large weights.

    Args:
        graph: what to export.
        model: where the graph came from.
        inline_bytes: when the weights that are in no file exceed this, the larger ones are left out of the
            model, and returned as the arrays they are.
    """
    original = model.proto
    proto = onnx.ModelProto()
    _copy_fields(original, proto, skip={"graph"})
    for domain in sorted({n.domain for n in graph.nodes if n.domain and not isinstance(n, ImportedNode)}):
        if domain not in {entry.domain for entry in proto.opset_import}:
            proto.opset_import.append(helper.make_opsetid(domain, 1))
    source, target = original.graph, proto.graph
    values = {"input", "output", "value_info", "quantization_annotation"}
    _copy_fields(source, target, skip={"node", "initializer", "sparse_initializer"} | values)
    target.node.extend(_export_node(node) for node in graph.nodes)
    arrays = _export_initializers(graph, source, target, inline_bytes)
    _export_values(graph, source, target, proto.ir_version)
    return Split(proto, arrays, _directory(graph, model))


def _directory(graph: gs.Graph, model: Model) -> Path | None:
    for constant in _constants(graph).values():
        if isinstance(constant._values, SpilledValues):
            return constant._values.directory
    return model.directory


def _copy_fields(source: Any, target: Any, skip: set[str]) -> None:
    for field, value in source.ListFields():
        if field.name in skip:
            continue
        if isinstance(value, (str, bytes, int, float)):
            setattr(target, field.name, value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            getattr(target, field.name).extend(value)


def _export_node(node: gs.Node) -> onnx.NodeProto:
    if not isinstance(node, ImportedNode) or node.op != node.source.op_type:
        return OnnxExporter.export_node(node)
    proto = onnx.NodeProto()
    _copy_fields(node.source, proto, skip={"input", "output", "attribute"})
    if node.name != proto.name:
        proto.name = node.name
    proto.input.extend(tensor.name for tensor in node.inputs)
    proto.output.extend(tensor.name for tensor in node.outputs)
    # An attribute that is the object it was imported as keeps its proto; so does one that has no such object.
    for attribute in node.source.attribute:
        name = attribute.name
        if name not in node.imported or node.attrs.get(name) is node.imported[name]:
            proto.attribute.append(attribute)
    kept = {attribute.name for attribute in proto.attribute}
    changed = {name: value for name, value in node.attrs.items() if name not in kept}
    proto.attribute.extend(OnnxExporter.export_attributes(changed))
    return proto


def _export_initializers(
    graph: gs.Graph, source: onnx.GraphProto, target: onnx.GraphProto, inline_bytes: int
) -> dict[str, np.ndarray]:
    """Fills the target's initializers, in the original's order and then in that of first use."""
    constants = _constants(graph)
    used = {name for node in target.node for name in reads(node)} | {tensor.name for tensor in graph.outputs}
    consumed = {name for node in source.node for name in reads(node)}
    consumed.update(value.name for value in source.output)
    stored: list[onnx.TensorProto] = []
    arrays: dict[str, np.ndarray] = {}
    for tensor in source.initializer:
        if (tensor.name in used or tensor.name not in consumed) and not _assigned(constants.get(tensor.name)):
            constants.pop(tensor.name, None)
            stored.append(tensor)
    for sparse in source.sparse_initializer:
        name = sparse.values.name
        if (name in used or name not in consumed) and not _assigned(constants.get(name)):
            constants.pop(name, None)
            target.sparse_initializer.append(sparse)
    own = sum(tensor_nbytes(tensor) for tensor in stored if not is_external(tensor))
    beside = own + sum(constant.values.nbytes for constant in constants.values()) > inline_bytes
    for tensor in stored:
        if beside and not is_external(tensor) and tensor_nbytes(tensor) >= SMALL_BYTES:
            arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
            target.initializer.append(reference(tensor.name, tensor.data_type, tensor.dims))
        else:
            target.initializer.append(tensor)
    for name, constant in constants.items():
        values = constant.values
        if beside and isinstance(constant._values, SpilledValues):
            target.initializer.append(constant._values.tensor)
        elif beside and values.nbytes >= SMALL_BYTES:
            arrays[name] = values
            target.initializer.append(reference(name, dtype_to_onnx(values.dtype), values.shape))
        else:
            target.initializer.append(to_proto(name, values))
    return arrays


def _assigned(constant: gs.Constant | None) -> bool:
    values = None if constant is None else constant._values
    return values is not None and (isinstance(values, SpilledValues) or not isinstance(values, LazyValues))


def _constants(graph: gs.Graph) -> dict[str, gs.Constant]:
    """The constants of the main graph that its nodes use, by name, in the order of their first use."""
    found: dict[str, gs.Constant] = {}
    for tensor in (*(tensor for node in graph.nodes for tensor in node.inputs), *graph.outputs):
        if isinstance(tensor, gs.Constant):
            found.setdefault(tensor.name, tensor)
    return found


def _export_values(
    graph: gs.Graph, source: onnx.GraphProto, target: onnx.GraphProto, ir_version: int
) -> None:
    held = {tensor.name: tensor for tensor in target.initializer}
    made = {name for node in target.node for name in node.output}
    gone = {tensor.name for tensor in source.initializer} - set(held)
    gone -= {sparse.values.name for sparse in target.sparse_initializer}
    inputs = {tensor.name for tensor in graph.inputs} | {value.name for value in source.input} - gone
    known = {value.name: value for value in source.input}
    target.input.extend(known[name] for name in known if name in inputs)
    target.input.extend(_value(tensor) for tensor in graph.inputs if tensor.name not in known)
    if ir_version < 4:
        declared = {value.name for value in target.input}
        target.input.extend(
            helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            for name, tensor in held.items()
            if name not in declared
        )
    known = {value.name: value for value in source.output}
    target.output.extend(known.get(tensor.name) or _value(tensor) for tensor in graph.outputs)
    gone |= {name for node in source.node for name in node.output} - made
    target.value_info.extend(value for value in source.value_info if value.name not in gone)
    target.quantization_annotation.extend(
        annotation for annotation in source.quantization_annotation if annotation.tensor_name not in gone
    )


def _value(tensor: gs.Tensor) -> onnx.ValueInfoProto:
    """A graph input or output that is new; without a type where none is known, for the runtime to infer."""
    if tensor.dtype is None or getattr(tensor, "type", "tensor_type") != "tensor_type":
        return onnx.ValueInfoProto(name=tensor.name)
    shape: Iterable[int | str | None] | None = tensor.shape
    return helper.make_tensor_value_info(
        tensor.name, dtype_to_onnx(tensor.dtype), None if shape is None else list(shape)
    )
