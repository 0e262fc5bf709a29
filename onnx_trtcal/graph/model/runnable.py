"""find_runnable(): the part of a model that ONNX Runtime runs, in the types that it has kernels for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.errors import listed
from onnx_trtcal.graph.model.float32 import CONVERTED, to_float32
from onnx_trtcal.graph.model.inference import skeleton
from onnx_trtcal.graph.model.order import bodies, distinct_names
from onnx_trtcal.graph.model.reach import describe, label, op_of, plugins, restricted
from onnx_trtcal.graph.model.runtime import explain, load_fault
from onnx_trtcal.graph.ops import is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Runnable", "compared_line", "find_runnable", "runnable_up_to"]


@dataclass(frozen=True)
class Runnable:
    """The part of a model that runs.

    Attributes:
        model: that part, a model of its own; the whole model where all of it runs.
        stops: first output of each node that ONNX Runtime has no kernel for -> what to call the node.
        beyond: tensors that are not in the part -> why.
        converted: what was made float32 so that it runs, and why; empty when nothing was.
    """

    model: Model
    stops: Mapping[str, str]
    beyond: Mapping[str, str]
    converted: str = ""


def compared_line(runnable: Runnable) -> str:
    """One line that says which part of a model is run instead of the whole."""
    parts = [runnable.converted] if runnable.converted else []
    if runnable.stops:
        parts.append(f"ONNX Runtime has no kernel for {listed(list(runnable.stops.values()))}")
    if runnable.beyond:
        parts.append(f"compared: {listed([repr(name) for name in runnable.model.outputs])}")
    return "; ".join(parts)


def runnable_up_to(model: Model, until: Sequence[str], stops: Sequence[str]) -> Runnable:
    """The part of a model in front of nodes that are known not to run; no runtime is asked.

    Args:
        model: the whole model.
        until: tensors at which the part ends.
        stops: first outputs of the nodes.

    Raises:
        OptionError, ModelError: as `restricted`.
    """
    named = {name: describe(node) for node in model.proto.graph.node for name in node.output[:1]}
    named |= {
        node.output[0]: describe(node, culprit) for node, culprit in plugins(model.proto) if node.output
    }
    called = {name: named[name] for name in stops if name in named}
    part, beyond = restricted(model, until, called)
    return Runnable(part, called, beyond)


def find_runnable(
    model: Model, until: Sequence[str] = (), ort_custom_ops: Sequence[str] = (), *, gpu: bool = True
) -> Runnable:
    """Loads a model in ONNX Runtime, without its weights where it must be loaded again, to see what runs.

    Args:
        model: the whole model; not changed.
        until: tensors at which the part ends; none for the model's outputs.
        ort_custom_ops: shared libraries that define custom operators.
        gpu: whether the model may run on a GPU.

    Raises:
        OptionError: a tensor of `until` is not made by the model.
        ModelError: ONNX Runtime objects to the model for another reason than an operator that it lacks, or a
            tensor of `until` lies behind such an operator.
    """
    stops: dict[str, str] = {}
    converted = ""
    base = model
    part, beyond = restricted(base, until, stops)
    given = _given(part) if part is model else _light(part)
    # What loads without its weights loads with them, and reading them takes longer than everything else.
    if part is model and not load_fault(_light(part), ort_custom_ops, gpu=gpu):
        return Runnable(part, stops, beyond, converted)
    while fault := load_fault(given, ort_custom_ops, part.directory, gpu=gpu):
        named = load_fault(_light(part), ort_custom_ops, gpu=gpu)
        found = list(_culprits(part, named)) or list(_culprits(part, fault))
        if not found and part is not model and given == _light(part):
            given = bytes(part.proto.SerializeToString())  # some operators insist on constant weights
            continue
        if not found and not ort_custom_ops:
            found = plugins(part.proto)  # what ONNX Runtime objects to may be such a node
        if not found:
            raise explain(named or fault, _where(model))
        kind = "" if converted or "NOT_IMPLEMENTED" not in fault else _convertible(part, found[0][1])
        if kind:
            converted = (
                f"ONNX Runtime has no kernel for {describe(*found[0])} in {kind}: the model runs in float32 "
                "instead, and all tensors keep their names"
            )
            base = to_float32(model)
        else:
            found += [] if ort_custom_ops else plugins(part.proto)
            stops |= {node.output[0]: describe(node, culprit) for node, culprit in found if node.output}
        part, beyond = restricted(base, until, stops)
        given = _light(part)
    return Runnable(part, stops, beyond, converted)


def _where(model: Model) -> str:
    return str(model.path or "the model in memory")


def _given(model: Model) -> Path | bytes:
    """The model as it is, to be loaded with its weights: its file, where the model is just that."""
    names = [node.name for node in model.proto.graph.node]
    distinct = distinct_names(model.proto.graph.node)
    if names == distinct:
        if model.path is not None and not model.inlined:
            return model.path
        return bytes(model.proto.SerializeToString())
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model.proto)
    for node, name in zip(renamed.graph.node, distinct, strict=True):
        node.name = name
    return bytes(renamed.SerializeToString())


def _light(model: Model) -> bytes:
    """The model without its weights, whose every node has a name, so that ONNX Runtime can say which it means."""
    light = skeleton(model.proto)
    for node in light.graph.node:
        node.name = label(node)
    for node, name in zip(light.graph.node, distinct_names(light.graph.node), strict=True):
        node.name = name
    return bytes(light.SerializeToString())


_UNKNOWN = re.compile(r"Fatal error: (?:(?P<domain>[^\s:]*):)?(?P<op>\w+)\(-?\d+\) is not a registered")
_UNREGISTERED = re.compile(
    r'In Node, \(".*?", (?P<op>\w+), "(?P<domain>.*?)", -?\d+\).*(?:No Op registered for|No opset import for domain)',
    re.DOTALL,
)
_NO_KERNEL = re.compile(
    r"Could not find an implementation for (?P<op>\w+)\(\d+\) node with name '(?P<name>.*)'"
)


def _culprits(model: Model, fault: str) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """The nodes that a message of ONNX Runtime is about, each with the node in its subgraphs that is meant.

    An operator that it does not know, wherever the graph has it; or the node that it has no kernel for, and all
    that have the same operator on the same types.
    """
    nodes = model.proto.graph.node
    unknown = _UNKNOWN.search(fault) or _UNREGISTERED.search(fault)
    if unknown:
        op, domain = unknown["op"], unknown["domain"] or ""
        for node in nodes:
            for each in bodies(node):
                if each.op_type == op and (
                    each.domain == domain or (is_standard_domain(domain) and is_standard_domain(each.domain))
                ):
                    yield node, each
                    break
        return
    kernel = _NO_KERNEL.search(fault)
    if not kernel:
        return
    named = [(node, each) for node in nodes for each in bodies(node) if label(each) == kernel["name"]]
    named += [(node, each) for node in nodes for each in bodies(node) if each.op_type == kernel["op"]][
        : not named
    ]
    for outer, culprit in named[:1]:
        yield outer, culprit
        for node in nodes:
            alike = op_of(node) == op_of(culprit) and _types(model, node) == _types(model, culprit)
            if node is not outer and outer is culprit and alike:
                yield node, node


def _types(model: Model, node: onnx.NodeProto) -> list[int]:
    return [model.elem_types.get(name, 0) for name in node.input]


def _convertible(model: Model, node: onnx.NodeProto) -> str:
    """The type that keeps one of ONNX's own operators from running, if that can be made float32; else nothing."""
    if not onnx.defs.has(node.op_type, node.domain):
        return ""
    known = [*_types(model, node), *(model.elem_types.get(name, 0) for name in node.output)]
    inner = set(model.elem_types.values()) if not any(known) else set()
    return next((CONVERTED[each] for each in (*known, *inner) if each in CONVERTED), "")
