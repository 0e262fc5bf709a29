"""Removes Q and DQ from a graph: what is left is the float model that was quantized.

tensor ─► Q ─► (ops that move INT8 values) ─► DQ ─► reader     becomes     tensor ─► (…) ─► reader
INT8 weights ─► DQ ─► reader                                   becomes     float weights ─► reader
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import helper

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.qdq.read.matching import constant_quantizer, source_type
from onnx_trtcal.qdq.read.quantizer import Quantizer, is_dequantizer, is_quantizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["RemovedQdq", "remove_qdq"]

_SUFFIXES = ("_quantized", "_int8", "_QuantizeLinear_Output", "_DequantizeLinear_Output")


@dataclass(frozen=True)
class RemovedQdq:
    """What the removed Q and DQ nodes said.

    Attributes:
        pairs: tensor of the float graph -> the quantizers that were on it, in graph order.
        weights: name of a float weight -> the dequantizer it had.
        read_quantized: (first output of a node, input index) of every input that was read from a DQ.
    """

    pairs: Mapping[str, tuple[Quantizer, ...]]
    weights: Mapping[str, Quantizer]
    read_quantized: frozenset[tuple[str, int]]


def remove_qdq(graph: gs.Graph) -> RemovedQdq:
    """Removes every Q and DQ node from a graph, in place.

    Weights that were stored as integers become (q - zero) * scale; weights that were float in front of Q stay
    as they are. Tensors and weights get back the names they had before they were quantized.

    Raises:
        ModelError: the integers between a Q and a DQ are computed with, a Q and its DQ differ, or a scale is
            not constant. Such a model has no float model with the same values.
    """
    flow = Flow(graph)
    remover = _Remover(graph, flow.constants)
    dequantizers = [node for node in flow.nodes if is_dequantizer(node)]
    for node in dequantizers:
        output = node.outputs[0].name
        before = source_type(flow, node)
        if before is not None:
            remover.types[output] = before
        remover.read |= {(reader.outputs[0].name, at) for reader, at in flow.consumers(output) if at >= 0}
    names = set(graph.tensors())
    for node in dequantizers:
        if flow.constants.value(node.inputs[0]) is not None:
            remover.dequantize_weight(node, names)
    for node in flow.nodes:
        if is_quantizer(node):
            remover.remove_quantizer(node)
    for node in dequantizers:
        if node.inputs:
            remover.remove_dequantizer(node)
    gone = {id(node) for node in flow.nodes if is_quantizer(node) or is_dequantizer(node)}
    kept = [node for node in graph.nodes if id(node) not in gone]
    graph.nodes.clear()
    graph.nodes.extend(kept)
    return RemovedQdq(
        {name: tuple(quantizers) for name, quantizers in remover.pairs.items()},
        remover.weights,
        frozenset(remover.read),
    )


@dataclass
class _Remover:
    """Disconnects Q and DQ nodes of a graph and notes what they said.

    Attributes:
        types: output of a DQ -> the type in front of its Q, where the DQ makes another one.
    """

    graph: gs.Graph
    constants: Constants
    pairs: dict[str, list[Quantizer]] = field(default_factory=dict)
    weights: dict[str, Quantizer] = field(default_factory=dict)
    read: set[tuple[str, int]] = field(default_factory=set)
    types: dict[str, np.dtype] = field(default_factory=dict)

    def dequantize_weight(self, node: gs.Node, names: set[str]) -> None:
        """Replaces stored integers and their DQ by the float weight; `names` are those taken."""
        import onnx_graphsurgeon as gs

        values = self.constants.value(node.inputs[0])
        assert values is not None
        quantizer = constant_quantizer(node, self.constants)
        stored, output = node.inputs[0].name, node.outputs[0]
        candidates = [
            name.removesuffix(end)
            for name in (stored, output.name)
            for end in _SUFFIXES
            if name.endswith(end)
        ]
        name = next((each for each in candidates if each and each not in names), output.name)
        names.add(name)
        self.weights[name] = quantizer
        try:
            weight = gs.Constant(name, quantizer.dequantize(values))
        except (ValueError, IndexError) as error:
            raise ModelError(
                f"weight {stored!r} of shape {values.shape} has {quantizer.scale.size} scales on axis "
                f"{quantizer.axis}",
                where=node.name or output.name,
                fix="`onnx-trtcal lint` lists every such fault",
            ) from error
        self._redirect(output, weight)
        _disconnect(node)

    def remove_quantizer(self, node: gs.Node) -> None:
        """Lets the readers of a Q read what is in front of it."""
        output, source = node.outputs[0], node.inputs[0]
        if any(output is each for each in self.graph.outputs):
            raise ModelError(
                f"graph output {output.name!r} is quantized: it has no float counterpart",
                where=node.name or output.name,
                fix="let the model end in a DequantizeLinear",
            )
        quantizer = constant_quantizer(node, self.constants)
        if self.constants.value(source) is not None:
            self.weights[source.name] = quantizer
        else:
            self.pairs.setdefault(source.name, []).append(quantizer)
        self._redirect(output, source)
        _disconnect(node)

    def remove_dequantizer(self, node: gs.Node) -> None:
        """Lets the readers of a DQ read what is in front of it, through a Cast where the types differ."""
        import onnx_graphsurgeon as gs

        output, source = node.outputs[0], node.inputs[0]
        before = self.types.get(output.name)
        if isinstance(source, gs.Variable):
            source.dtype = output.dtype if before is None else before
        to = constant_quantizer(node, self.constants).dtype
        _disconnect(node)
        if before is not None:
            attributes = {"to": helper.np_dtype_to_tensor_dtype(to)}
            cast = gs.Node("Cast", f"{output.name}_Cast", attributes, inputs=[source], outputs=[output])
            self.graph.nodes.insert(next(i for i, each in enumerate(self.graph.nodes) if each is node), cast)
        elif any(output is each for each in self.graph.outputs):
            self._keep_output(output, source)
        else:
            self._redirect(output, source)

    def _keep_output(self, output: gs.Tensor, source: gs.Tensor) -> None:
        """Lets a graph output keep the name that users know: its producer takes that name over."""
        import onnx_graphsurgeon as gs

        is_free = bool(source.inputs) and not any(source is each for each in self.graph.outputs)
        if not is_free:
            self._redirect(output, source, outputs=False)
            self.graph.nodes.append(
                gs.Node("Identity", name=f"{output.name}_Identity", inputs=[source], outputs=[output])
            )
            return
        producer = source.inputs[0]
        at = next(index for index, each in enumerate(producer.outputs) if each is source)
        self._redirect(source, output)
        producer.outputs[at] = output
        if at == 0:
            self.read = {(output.name if name == source.name else name, index) for name, index in self.read}
        if source.name in self.pairs:
            self.pairs.setdefault(output.name, []).extend(self.pairs.pop(source.name))

    def _redirect(self, old: gs.Tensor, new: gs.Tensor, *, outputs: bool = True) -> None:
        """Lets every reader of one tensor read another, in the main graph and in subgraphs."""
        for consumer in list(old.outputs):
            for index, tensor in enumerate(consumer.inputs):
                if tensor is old:
                    consumer.inputs[index] = new
        if outputs:
            for index, tensor in enumerate(self.graph.outputs):
                if tensor is old:
                    self.graph.outputs[index] = new


def _disconnect(node: gs.Node) -> None:
    node.inputs.clear()
    node.outputs.clear()
