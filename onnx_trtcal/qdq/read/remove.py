"""Takes Q and DQ out of a graph: what is left is the float model that was quantized.

tensor ─► Q ─► (ops that move INT8 values) ─► DQ ─► reader     becomes     tensor ─► (…) ─► reader
INT8 weights ─► DQ ─► reader                                   becomes     float weights ─► reader
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.qdq.read.pairs import Quantizer, is_dequantizer, is_quantizer, read_quantizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["Stripped", "strip"]

_SUFFIXES = ("_quantized", "_int8", "_QuantizeLinear_Output", "_DequantizeLinear_Output")


@dataclass(frozen=True)
class Stripped:
    """What the Q/DQ nodes said.

    Attributes:
        pairs: tensor of the float graph -> the quantizers that were on it, in graph order.
        weights: name of a float weight -> the dequantizer it had.
        read_quantized: (first output of a node, input index) of every input that was read from a DQ.
    """

    pairs: Mapping[str, tuple[Quantizer, ...]]
    weights: Mapping[str, Quantizer]
    read_quantized: frozenset[tuple[str, int]]


@dataclass
class _Found:
    pairs: dict[str, list[Quantizer]] = field(default_factory=dict)
    weights: dict[str, Quantizer] = field(default_factory=dict)
    read: set[tuple[str, int]] = field(default_factory=set)
    # DQ, by its output -> the type in front of its Q, where that is another than it makes
    types: dict[str, np.dtype] = field(default_factory=dict)


def strip(graph: gs.Graph) -> Stripped:
    """Removes every Q and DQ node from a graph, in place.

    Weights that were stored as integers become (q - zero) * scale; weights that were float in front of Q stay
    as they are. Tensors and weights get the names they had before they were quantized.

    Raises:
        ModelError: when the integers between a Q and a DQ are computed with, when a Q and its DQ differ, or a
            scale is not constant. Such a model has no float model with the same values.
    """
    flow = Flow(graph)
    found = _Found()
    dequantizers = [node for node in flow.nodes if is_dequantizer(node)]
    for node in dequantizers:
        _check(flow, node, found)
        found.read |= {
            (consumer.outputs[0].name, index)
            for consumer, index in flow.consumers(node.outputs[0].name)
            if index >= 0
        }
    names = set(graph.tensors())
    for node in dequantizers:
        if flow.constants.value(node.inputs[0]) is not None:
            _restore_weight(graph, flow, node, found, names)
    for node in flow.nodes:
        if is_quantizer(node):
            _remove_quantizer(graph, flow, node, found)
    for node in dequantizers:
        if node.inputs:
            _remove_dequantizer(graph, flow, node, found)
    gone = {id(node) for node in flow.nodes if is_quantizer(node) or is_dequantizer(node)}
    kept = [node for node in graph.nodes if id(node) not in gone]
    graph.nodes.clear()
    graph.nodes.extend(kept)
    return Stripped(
        {name: tuple(quantizers) for name, quantizers in found.pairs.items()},
        found.weights,
        frozenset(found.read),
    )


def _read(node: gs.Node, constants: Constants) -> Quantizer:
    quantizer = read_quantizer(node, constants)
    if quantizer is None:
        raise ModelError(
            f"a {node.op} has a scale or zero-point that is not constant",
            where=node.name or node.outputs[0].name,
        )
    return quantizer


def _check(flow: Flow, node: gs.Node, found: _Found) -> None:
    """A DQ must read a constant or, through ops that only move values, from Q nodes of its own scale."""
    own = _read(node, flow.constants)
    label = node.name or node.outputs[0].name
    pending = [] if flow.constants.value(node.inputs[0]) is not None else [node.inputs[0]]
    while pending:
        tensor = pending.pop()
        producer = flow.producer(tensor.name)
        if producer is None or not (is_quantizer(producer) or flow.data_inputs(producer)):
            raise ModelError(
                f"integers are computed with before DequantizeLinear reads {tensor.name!r}",
                where=label,
                fix="only a model with Q/DQ pairs around float ops has a float model: export that format",
            )
        if not is_quantizer(producer):
            pending.extend(flow.data_inputs(producer))
            continue
        other = _read(producer, flow.constants)
        if own.scale.tobytes() != other.scale.tobytes() or not np.array_equal(own.zero, other.zero):
            raise ModelError(
                f"QuantizeLinear {producer.name or producer.outputs[0].name!r} and its DequantizeLinear have "
                "different scales or zero-points: together they rescale the tensor",
                where=label,
                fix="give both the same scale and zero-point",
            )
        if other.dtype != own.dtype:
            found.types[node.outputs[0].name] = other.dtype


def _restore_weight(graph: gs.Graph, flow: Flow, node: gs.Node, found: _Found, names: set[str]) -> None:
    import onnx_graphsurgeon as gs

    values = flow.constants.value(node.inputs[0])
    assert values is not None
    quantizer = _read(node, flow.constants)
    stored, output = node.inputs[0].name, node.outputs[0]
    candidates = [
        name.removesuffix(end) for name in (stored, output.name) for end in _SUFFIXES if name.endswith(end)
    ]
    name = next((each for each in candidates if each and each not in names), output.name)
    names.add(name)
    found.weights[name] = quantizer
    try:
        weight = gs.Constant(name, quantizer.dequantize(values))
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"weight {stored!r} of shape {values.shape} has {quantizer.scale.size} scales on axis {quantizer.axis}",
            where=node.name or output.name,
            fix="`onnx-trtcal lint` lists every such fault",
        ) from error
    _redirect(graph, output, weight)
    node.inputs.clear()
    node.outputs.clear()


def _remove_quantizer(graph: gs.Graph, flow: Flow, node: gs.Node, found: _Found) -> None:
    output, source = node.outputs[0], node.inputs[0]
    if any(output is each for each in graph.outputs):
        raise ModelError(
            f"graph output {output.name!r} is quantized: it has no float counterpart",
            where=node.name or output.name,
            fix="let the model end in a DequantizeLinear",
        )
    quantizer = _read(node, flow.constants)
    if flow.constants.value(source) is not None:
        found.weights[source.name] = quantizer
    else:
        found.pairs.setdefault(source.name, []).append(quantizer)
    _redirect(graph, output, source)
    node.outputs.clear()
    node.inputs.clear()


def _remove_dequantizer(graph: gs.Graph, flow: Flow, node: gs.Node, found: _Found) -> None:
    import onnx_graphsurgeon as gs

    output, source = node.outputs[0], node.inputs[0]
    before = found.types.get(output.name)
    if isinstance(source, gs.Variable):
        source.dtype = output.dtype if before is None else before
    to = _read(node, flow.constants).dtype
    node.inputs.clear()
    node.outputs.clear()
    if before is not None:
        attributes = {"to": helper.np_dtype_to_tensor_dtype(to)}
        cast = gs.Node("Cast", f"{output.name}_Cast", attributes, inputs=[source], outputs=[output])
        graph.nodes.insert(next(i for i, each in enumerate(graph.nodes) if each is node), cast)
        return
    if not any(output is each for each in graph.outputs):
        _redirect(graph, output, source)
        return
    is_free = bool(source.inputs) and not any(source is each for each in graph.outputs)
    if not is_free:
        _redirect(graph, output, source, outputs=False)
        graph.nodes.append(
            gs.Node("Identity", name=f"{output.name}_Identity", inputs=[source], outputs=[output])
        )
        return
    # The output's name is the one users know: the producer takes it over.
    producer = source.inputs[0]
    at = next(index for index, each in enumerate(producer.outputs) if each is source)
    _redirect(graph, source, output)
    producer.outputs[at] = output
    if at == 0:
        found.read = {(output.name if name == source.name else name, index) for name, index in found.read}
    if source.name in found.pairs:
        found.pairs.setdefault(output.name, []).extend(found.pairs.pop(source.name))


def _redirect(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor, *, outputs: bool = True) -> None:
    """Lets every reader of one tensor read another, in the main graph and in subgraphs."""
    for consumer in list(old.outputs):
        for index, tensor in enumerate(consumer.inputs):
            if tensor is old:
                consumer.inputs[index] = new
    if outputs:
        for index, tensor in enumerate(graph.outputs):
            if tensor is old:
                graph.outputs[index] = new
