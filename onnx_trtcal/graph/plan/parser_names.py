"""The names that NVIDIA's ONNX parser gives to tensors of its own, where what they hold is known from the model.

The parser names a layer after its node, or `node_of_<first output>` where that has no name, and a constant after the
tensor that stores it. A tensor to which the model gives no name is `<layer>_output`. A layer whose name is taken gets
a number behind it, from one counter for all; such names are not predicted, because the same number can be another
tensor in another version. Checked against the parser of TensorRT for RTX 1.7 and caches that TensorRT 10.3 to 10.15
wrote; up to 8.6 these tensors are `(Unnamed Layer* N) [Constant]_output` and the like.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import onnx
from onnx import helper

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.constants import constant_amax
from onnx_trtcal.graph.model.nodes import bodies, graphs_of, layer_name, nodes_of
from onnx_trtcal.graph.model.order import reads, sorted_nodes
from onnx_trtcal.graph.plan.owners import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.plan.plan import Plan

__all__ = ["ParserTensor", "is_helper", "parser_tensors", "with_helpers", "with_parser_names"]

# What TensorRT calls the tensors of layers that it adds on its own.
_HELPERS = ("(Unnamed Layer* ", "ONNXTRT_", "tmp_refittable_weight", "tmp_weight")
# Inputs whose constants stay weights of the layer, and never become a tensor of the network.
_WEIGHTS: Mapping[str, frozenset[int]] = {
    "BatchNormalization": frozenset({1, 2, 3, 4}),
    "Clip": frozenset({1, 2}),
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "Dropout": frozenset({1, 2}),
    "Pad": frozenset({1, 2, 3}),
    "QuantizeLinear": frozenset({1, 2}),
}
# Layers for images, which the parser gives other inputs by way of an unsqueezed tensor.
_ON_IMAGES = frozenset({"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "MaxPool"})
# Made of a function that stays within 0 and 1, HardSigmoid or Softmax, and of another layer behind it.
_BOUNDED = frozenset({"HardSwish", "LogSoftmax"})
_REARRANGES = frozenset({"DepthToSpace", "SpaceToDepth"})


@dataclass(frozen=True)
class ParserTensor:
    """A tensor of the parser's network that the model does not name.

    Attributes:
        name: the parser's name for it.
        kind: what it holds: the values of a constant (`constant`), of another tensor (`alias`), a Gemm's product
            before anything is added or multiplied (`product`), or values of 0 to 1 (`bound`).
        of: the stored constant, the tensor with the same values, or what the node makes of them in the end.
    """

    name: str
    kind: Literal["constant", "alias", "product", "bound"]
    of: str


def is_helper(name: str) -> bool:
    """Whether a name is one that TensorRT gives to a layer that it adds on its own."""
    return name.startswith(_HELPERS)


def parser_tensors(model: Model) -> tuple[ParserTensor, ...]:
    """The parser's own tensors whose values are known, in graph order: constants where they are first read.

    What bears a name that two layers or tensors want is left out: one of them gets a number. So is what is inside of
    a function that the model defines, for which the parser makes up names. O(nodes + edges).
    """
    graph = model.proto.graph
    stored = _stored(graph)
    wanted = Counter(layer_name(node) for node in nodes_of(graph) if node.op_type != "Constant")
    wanted.update(stored)
    named = {*_tensor_names(graph), *model.elem_types}
    copies = _copies(model, stored)
    found: dict[str, ParserTensor] = {}
    for node in sorted_nodes(graph.node):
        for name in _read_as_tensors(node, stored):
            if name in copies and model.elem_types.get(name) in ops.FLOATS:
                found.setdefault(name, ParserTensor(f"{name}_output", "constant", copies[name]))
        kind = (
            None if model.inlined or not ops.is_standard_domain(node.domain) else _kind(node, model, stored)
        )
        if kind is not None:
            name = layer_name(node)
            found.setdefault(name, ParserTensor(f"{name}_output", kind, node.output[0]))
    return tuple(each for name, each in found.items() if wanted[name] <= 1 and each.name not in named)


def with_parser_names(plan: Plan, model: Model) -> Plan:
    """The plan with owners for the parser's own tensors, and with the products among them observed.

    A tensor of which the plan has no scale gives none to the parser's either.

    Args:
        plan: of the model.
        model: the model that runs.
    """
    owners, amax = dict(plan.owners), dict(plan.constants)
    tensors = parser_tensors(model)
    stored = dict.fromkeys(each.of for each in tensors if each.kind == "constant")
    amax.update(constant_amax(model, [name for name in stored if name not in amax]))
    products: dict[str, str] = {}
    for each in tensors:
        known = plan.owners.get(each.of)
        if each.kind == "constant":
            if each.of in amax:
                owners[each.name] = Owner(each.of, "constant")
        elif known is None or known.reason == "constant":
            continue
        elif each.kind == "alias":
            owners[each.name] = Owner(known.source, "alias")
        elif each.kind == "bound":
            owners[each.name] = Owner(each.name, "bound")
            amax[each.name] = 1.0
        else:
            owners[each.name] = Owner(each.name, "measured")
            products[each.name] = each.of
    return replace(
        plan,
        owners=owners,
        constants=amax,
        observed=(*plan.observed, *products),
        op_types={**plan.op_types, **dict.fromkeys(products, "Gemm")},
        products=products,
        parser_names=tuple(name for name in owners if name not in plan.owners),
    )


def with_helpers(plan: Plan, copies: Mapping[str, str]) -> Plan:
    """The plan with owners for tensors that only hold the values of others.

    Args:
        plan: of the model, with the parser's names in it.
        copies: tensor of the parser's network -> the tensor whose values it holds, in the network's order.
    """
    owners = dict(plan.owners)
    for name, source in copies.items():
        known = owners.get(source)
        if known is not None and name not in owners and name not in plan.skipped:
            owners[name] = replace(known, reason="constant" if known.reason == "constant" else "alias")
    return replace(
        plan,
        owners=owners,
        parser_names=(*plan.parser_names, *(name for name in owners if name not in plan.owners)),
    )


def _kind(
    node: onnx.NodeProto, model: Model, stored: frozenset[str]
) -> Literal["alias", "product", "bound"] | None:
    """What the tensor `<layer>_output` of a node holds; None where there is none, or its values are not known."""
    if node.op_type == "Gemm":
        return "product" if len(node.input) > 2 and node.input[2] else None
    if node.op_type in _BOUNDED:
        return "bound"
    if node.op_type == "Softmax" or node.op_type in _REARRANGES:
        return "alias"
    if node.op_type not in _ON_IMAGES:
        return None
    shape = model.shapes.get(node.input[0])
    ranks = (2, 3) if node.op_type == "BatchNormalization" else (3,)
    weights = [name for name in node.input[1:] if name]
    if shape is None or len(shape) not in ranks or not stored.issuperset(weights):
        return None
    return "alias" if len(node.output) == 1 and _is_one_layer(node) else None


def _is_one_layer(node: onnx.NodeProto) -> bool:
    """Whether nothing is padded or cut off in a layer of its own."""
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    pads = list(given.get("pads", ()))
    half = len(pads) // 2
    plain = given.get("auto_pad", b"NOTSET") == b"NOTSET" and not given.get("ceil_mode")
    shaped = any(given.get("output_padding", ())) or "output_shape" in given or given.get("training_mode")
    return plain and not shaped and pads[:half] == pads[half:]


def _stored(graph: onnx.GraphProto) -> frozenset[str]:
    names = {tensor.name for tensor in graph.initializer}
    names.update(tensor.values.name for tensor in graph.sparse_initializer)
    names.update(name for node in graph.node if node.op_type == "Constant" for name in node.output)
    return frozenset(names)


def _copies(model: Model, stored: frozenset[str]) -> dict[str, str]:
    """Every stored constant, and what only moves the values of one -> the stored constant.

    TensorRT 10.14 makes one constant of a stored one and the Squeeze behind it.
    """
    copies = {name: name for name in stored}
    for node in sorted_nodes(model.proto.graph.node):
        if node.op_type in ops.MOVES and ops.is_standard_domain(node.domain) and node.input[0] in copies:
            copies[node.output[0]] = copies[node.input[0]]
    return copies


def _read_as_tensors(node: onnx.NodeProto, stored: frozenset[str]) -> Iterator[str]:
    """What a node reads as values, not as weights, shapes or bounds."""
    weights = ops.SHAPE_INPUTS.get(node.op_type, frozenset()) | _WEIGHTS.get(node.op_type, frozenset())
    if node.op_type == "BatchNormalization" and not stored.issuperset(node.input[1:]):
        weights = frozenset()
    for index, name in enumerate(node.input):
        if name and index not in weights:
            yield name
    if any(bodies(node)):
        yield from (name for name in reads(node) if name not in node.input)


def _tensor_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name of a tensor in a graph and in the bodies of its nodes."""
    for each in graphs_of(graph):
        yield from (value.name for value in (*each.input, *each.output))
        yield from (tensor.name for tensor in each.initializer)
        for node in each.node:
            yield from node.output
