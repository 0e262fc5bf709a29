"""How far a model can be run: up to some nodes, or as far as some tensors need."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.errors import ModelError, OptionError, did_you_mean
from onnx_trtcal.graph.model.order import bodies, reads, sorted_nodes
from onnx_trtcal.graph.ops import ANCHORS, is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from onnx_trtcal.graph.model.load import Model

__all__ = [
    "NOT_NEEDED",
    "behind",
    "beyond_int8",
    "describe",
    "label",
    "layers_behind",
    "op_of",
    "plugins",
    "reads_of",
    "restricted",
    "with_layers",
]

NOT_NEEDED = "no tensor of --until depends on it"

# Domains of operators that ONNX Runtime brings along.
_RUNTIME_DOMAINS = ("com.microsoft", "com.ms", "org.pytorch.aten")


def label(node: onnx.NodeProto) -> str:
    """What to call a node in messages: its name, or its first output where it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def op_of(node: onnx.NodeProto) -> str:
    """The node's op type; with "domain:" before it when it is not one of ONNX's own operators."""
    return node.op_type if is_standard_domain(node.domain) else f"{node.domain}:{node.op_type}"


def describe(node: onnx.NodeProto, culprit: onnx.NodeProto | None = None) -> str:
    """A node with its operator, as `'nms' (TRT:EfficientNMS_TRT)`; `culprit` is the node of it that is meant."""
    inside = "" if culprit is None or culprit is node else f", in which there is {op_of(culprit)}"
    return f"{label(node)!r} ({op_of(node)}{inside})"


def plugins(proto: onnx.ModelProto) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """The nodes of the main graph whose operators neither ONNX nor ONNX Runtime defines, nor the model itself.

    TensorRT plugins are such. No runtime is asked: a custom-operator library may yet define some.

    Returns:
        Each node with the node in its subgraphs that is meant, which is the node itself where it has none.
    """
    functions = {(function.domain, function.name) for function in proto.functions}
    found = []
    for node in proto.graph.node:
        foreign = (each for each in bodies(node) if (each.domain, each.op_type) not in functions)
        culprit = next((each for each in foreign if _is_foreign(each)), None)
        found += [] if culprit is None else [(node, culprit)]
    return found


def _is_foreign(node: onnx.NodeProto) -> bool:
    if is_standard_domain(node.domain):
        return not onnx.defs.has(node.op_type)
    return not node.domain.startswith(_RUNTIME_DOMAINS) and not onnx.defs.has(node.op_type, node.domain)


def behind(proto: onnx.ModelProto, stops: Mapping[str, str]) -> dict[str, str]:
    """The tensors that some nodes make, and all that depend on them.

    Args:
        proto: the model.
        stops: first output of each of those nodes -> what to call it.

    Returns:
        Tensor -> the name, as in `stops`, of a node that it depends on, in running order.
    """
    found: dict[str, str] = {}
    for node in sorted_nodes(proto.graph.node) if stops else ():
        made = [name for name in node.output if name]
        names = [stops[name] for name in made[:1] if name in stops]
        names += [found[name] for name in reads(node) if name in found]
        if names:
            found.update(dict.fromkeys(made, names[0]))
    return found


def reads_of(proto: onnx.ModelProto, stops: Collection[str]) -> set[str]:
    """What some nodes read, each known by its first output."""
    nodes = [node for node in proto.graph.node if not set(stops).isdisjoint(node.output[:1])]
    return {name for node in nodes for name in reads(node)}


def layers_behind(proto: onnx.ModelProto, tensors: Collection[str]) -> list[str]:
    """The labels of the layers (Conv, ConvTranspose, Gemm, MatMul) that make one of some tensors."""
    return [
        label(node)
        for node in proto.graph.node
        if op_of(node) in ANCHORS and not set(tensors).isdisjoint(node.output)
    ]


def with_layers(proto: onnx.ModelProto, tensors: AbstractSet[str]) -> set[str]:
    """Those of some tensors that a layer makes, or that lie in front of a layer or behind one.

    Only nodes that make one of the tensors count: without a layer among them, none can profit from INT8.
    """
    nodes = [node for node in sorted_nodes(proto.graph.node) if not tensors.isdisjoint(node.output)]
    below: set[str] = set()
    for node in nodes:
        if op_of(node) in ANCHORS or any(name in below for name in reads(node)):
            below.update(node.output)
    above: set[str] = set()
    for node in reversed(nodes):
        if op_of(node) in ANCHORS or any(name in above for name in node.output):
            above.update(name for name in reads(node) if name in tensors)
    return (below | above) & tensors


def beyond_int8(proto: onnx.ModelProto) -> dict[str, str]:
    """Tensors that need no scale, for they lie behind a plugin and with no layer: tensor -> what to call the plugin.

    A plugin is what `plugins` finds.
    """
    found = behind(
        proto, {node.output[0]: describe(node, culprit) for node, culprit in plugins(proto) if node.output}
    )
    costly = with_layers(proto, found.keys())
    return {name: plugin for name, plugin in found.items() if name not in costly}


def restricted(
    model: Model, until: Sequence[str], stops: Mapping[str, str]
) -> tuple[Model, Mapping[str, str]]:
    """The part of a model in front of some nodes, and in front of some tensors; the model is not changed.

    Args:
        model: the model.
        until: tensors at which it ends; none for the outputs.
        stops: first output of each node at which it ends -> what to call that node.

    Returns:
        The part, whose outputs are what the rest of the model reads of it and those of the model's outputs that
        are in it, and the tensors that nodes of the rest make -> why they are not in it.

    Raises:
        OptionError: a tensor of `until` is not made by the model.
        ModelError: a tensor of `until` lies behind one of the nodes.
    """
    if not until and not stops:
        return model, {}
    nodes = sorted_nodes(model.proto.graph.node)
    made = [name for node in nodes for name in node.output if name]
    unreachable = behind(model.proto, stops)
    _check_ends(until, made, unreachable, model)
    beyond = {name: f"behind {what}, which ONNX Runtime cannot run" for name, what in unreachable.items()}
    if until:
        needed = _needed(nodes, until)
        beyond = {name: beyond.get(name, NOT_NEEDED) for name in made if name in beyond or name not in needed}
    rest = [node for node in nodes if any(name in beyond for name in node.output)]
    read_by_rest = {name for node in rest for name in reads(node)}
    wanted = [*until, *(name for name in model.outputs if name not in beyond and not until)]
    wanted += [name for name in made if name in read_by_rest and name not in beyond]
    return _part(model, [node for node in nodes if node not in rest], dict.fromkeys(wanted)), beyond


def _check_ends(
    until: Sequence[str], made: Sequence[str], unreachable: Mapping[str, str], model: Model
) -> None:
    for name in until:
        if name not in made:
            raise OptionError(
                f"--until {name!r} names no tensor that a node of the model makes",
                fix=did_you_mean(name, made) or "give the name of a node's output, as Netron shows it",
            )
        if name in unreachable:
            raise ModelError(
                f"--until {name!r} lies behind {unreachable[name]}, which ONNX Runtime cannot run",
                where=str(model.path or "the model in memory"),
                fix="give a tensor in front of that node",
            )


def _needed(nodes: Sequence[onnx.NodeProto], ends: Iterable[str]) -> set[str]:
    """The tensors that some tensors depend on, and all that their nodes make."""
    needed = set(ends)
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.output)
            needed.update(reads(node))
    return needed


def _part(model: Model, nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> Model:
    whole = model.proto
    proto = onnx.ModelProto(ir_version=whole.ir_version)
    proto.opset_import.extend(whole.opset_import)
    proto.functions.extend(whole.functions)
    graph = proto.graph
    graph.name = whole.graph.name
    graph.node.extend(nodes)
    used = {name for node in nodes for name in reads(node)} | set(outputs)
    graph.initializer.extend(tensor for tensor in whole.graph.initializer if tensor.name in used)
    graph.sparse_initializer.extend(
        tensor for tensor in whole.graph.sparse_initializer if tensor.values.name in used
    )
    fed = {spec.name for spec in model.inputs}
    graph.input.extend(value for value in whole.graph.input if value.name in fed or value.name in used)
    known = {value.name: value for value in (*whole.graph.value_info, *whole.graph.output)}
    graph.output.extend(known.get(name) or onnx.ValueInfoProto(name=name) for name in outputs)
    made = {name for node in nodes for name in node.output}
    graph.value_info.extend(value for value in whole.graph.value_info if value.name in made)
    return dataclasses.replace(model, proto=proto, outputs=tuple(outputs))
