"""From a graph-surgeon graph back to an ONNX model, without loss.

An export starts from the original model: what the graph did not change is copied from there, metadata and the
attributes that graph-surgeon has no noun for included.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter, dtype_to_onnx

from onnx_trtcal.graph.model.importer import ImportedNode
from onnx_trtcal.graph.model.split import INLINE_BYTES, Split, export_initializers, weights_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["export_model", "export_node", "split_model"]


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
    target.node.extend(export_node(node) for node in graph.nodes)
    arrays = export_initializers(graph, source, target, inline_bytes)
    _export_values(graph, source, target, proto.ir_version)
    return Split(proto, arrays, weights_folder(graph, model))


def export_node(node: gs.Node) -> onnx.NodeProto:
    """A node as it was imported, but for what the graph changed of it."""
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
