"""Whether nodes have the inputs, outputs and attributes that their operators are defined with.

Rewriting and planning take a node apart by its operator: a Conv has a weight, a QuantizeLinear an output; and they
find it by what it makes. That is checked once, before, so that nothing behind need expect a model of which it is not
so.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from onnx import AttributeProto, defs, helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.nodes import bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx

__all__ = ["check_signatures"]

# What lint says of the scales of these is more than that one is missing.
_LINTED = {"QuantizeLinear", "DequantizeLinear"}

_FIX = "check the model with onnx.checker, and export it again"


def check_signatures(proto: onnx.ModelProto, name: str) -> None:
    """Checks every node of the graph, its subgraphs and its functions whose operator ONNX defines, and value types.

    Args:
        proto: the model.
        name: what messages call it.

    Raises:
        ModelError: an input, an output or an attribute that the operator needs is missing, an attribute is of
            another type, or a tensor of one that does not exist, or two nodes make one tensor.
    """
    opsets = _opsets(proto.opset_import)
    _check_graph(proto.graph, opsets, name)
    for function in proto.functions:
        _check_nodes(function.node, {**opsets, **_opsets(function.opset_import)}, name, set(function.input))


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {"" if each.domain == "ai.onnx" else each.domain: each.version for each in imports}


def _check_graph(graph: onnx.GraphProto, opsets: Mapping[str, int], name: str) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type.elem_type
        if kind and kind not in helper.get_all_tensor_dtypes():
            raise ModelError(
                f"the tensor {value.name!r} is of element type {kind}, which this version of onnx does not know",
                where=name,
                fix="export the model again, or update onnx if the type is newer",
            )
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    _check_nodes(
        graph.node, opsets, name, given | {sparse.values.name for sparse in graph.sparse_initializer}
    )


def _check_nodes(
    nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int], name: str, there: set[str]
) -> None:
    """Checks nodes; `there` are the tensors that are there before any of them runs."""
    for node in nodes:
        for output in filter(None, node.output):
            if output in there:
                raise ModelError(
                    f"the tensor {output!r} is made by a node, and also by another, an input or a weight",
                    where=f"{name}, node {node.name or output!r}",
                    fix=_FIX,
                )
            there.add(output)
        domain = "" if node.domain == "ai.onnx" else node.domain
        schema = _schema(node.op_type, opsets.get(domain, 0), domain)
        fault = _fault(node, schema) if schema else ""
        if fault:
            raise ModelError(fault, where=f"{name}, node {node.name or ', '.join(node.output)!r}", fix=_FIX)
        for graph in bodies(node):
            _check_graph(graph, opsets, name)


@cache
def _schema(op: str, version: int, domain: str) -> defs.OpSchema | None:
    """The operator's definition; None for one that ONNX does not define, or not for that opset."""
    if version < 1 or (version > defs.onnx_opset_version() and not domain):
        version = defs.onnx_opset_version()
    try:
        return defs.get_schema(op, version, domain)
    except Exception:  # noqa: BLE001 (SchemaError is not public; custom operators have no definition)
        return None


def _fault(node: onnx.NodeProto, schema: defs.OpSchema) -> str:
    needed = 1 if node.op_type in _LINTED else schema.min_input
    named = 1 if node.op_type in _LINTED else _required(schema)
    if len(node.input) < needed or not all(node.input[:named]):
        return f"a {node.op_type} lacks an input: it has {len(node.input)}, and needs {needed} with names"
    if len(node.output) < schema.min_output:
        return f"a {node.op_type} lacks an output: it has {len(node.output)}, and needs {schema.min_output}"
    given = {attribute.name: attribute for attribute in node.attribute}
    for key, known in schema.attributes.items():
        attribute = given.get(key)
        if attribute is None:
            if known.required:
                return f"a {node.op_type} lacks its attribute {key!r}"
        elif not attribute.ref_attr_name and attribute.type != _type(known):
            name_of = AttributeProto.AttributeType.Name
            found, wanted = name_of(attribute.type), name_of(_type(known))
            return f"the attribute {key!r} of a {node.op_type} is of type {found}, not {wanted}"
    return ""


def _type(attribute: defs.OpSchema.Attribute) -> AttributeProto.AttributeType:
    # An enumeration of its own, with the numbers that models store; its stubs lack `value`.
    number: AttributeProto.AttributeType = attribute.type.value  # type: ignore[attr-defined]
    return number


def _required(schema: defs.OpSchema) -> int:
    """How many inputs from the first on must have a name."""
    single = defs.OpSchema.FormalParameterOption.Single
    return next((at for at, each in enumerate(schema.inputs) if each.option != single), len(schema.inputs))
