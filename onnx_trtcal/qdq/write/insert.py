"""Inserts Q/DQ pairs into a folded graph where `place` decided.

producer ── tensor ──► QuantizeLinear ──► DequantizeLinear ──► the quantized readers
               └─────► everything else, in floating point
INT8 weights ────────► DequantizeLinear ──► the layer
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.names import Names, names_in
from onnx_trtcal.graph.ops import QUANTIZED
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.weight_scales import (
    WEIGHT_MAX,
    broadcast_scales,
    quantize_weight,
    weight_limit,
    weight_scales,
)
from onnx_trtcal.qdq.write.float16 import to_float16
from onnx_trtcal.qdq.write.opset import raise_opset
from onnx_trtcal.qdq.write.pair_nodes import PairNodes
from onnx_trtcal.qdq.write.pair_scales import beyond_float16, pair_scales, round_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.place.placement import Placement, Weight

__all__ = ["Inserted", "quantize_graph"]

_PER_CHANNEL_OPSET = 13
_FLOAT16_OPSET = 19


@dataclass(frozen=True)
class Inserted:
    """What was written.

    Attributes:
        scales: tensor with a pair -> the scale in its pair, an exact value of the pair's type.
        dead: weight -> number of its channels that are next to zero (below 1e-4), which got a harmless scale.
        weight_scales: weight -> the scales in its DQ, one per channel or one, exact values of the DQ's type.
    """

    scales: Mapping[str, float]
    dead: Mapping[str, int]
    weight_scales: Mapping[str, np.ndarray]


def quantize_graph(
    graph: gs.Graph,
    placement: Placement,
    scales: Mapping[str, float],
    options: QdqOptions = QdqOptions(),
    given: GivenWeights = GivenWeights(),
) -> Inserted:
    """Turns a folded graph into an explicitly quantized one, in place.

    Args:
        graph: the graph that `placement` was made for. Its opset is raised where Q/DQ needs it.
        placement: where pairs go.
        scales: tensor -> scale (threshold / 127), exact float32 values; entries of other tensors are ignored.
        options: how weights are stored, and the opset.
        given: weights and biases that a search found.

    Raises:
        OptionError: a scale is missing or not positive, or the opset asked for is too low.
        ModelError: the opset cannot be raised.
    """
    wanted = pair_scales(placement, scales)
    wide: frozenset[str] = frozenset()
    if options.high_precision == "fp16":
        wide = beyond_float16({**scales, **wanted}) - {weight.tensor for weight in placement.weights}
    writer = _Writer(graph, options, wide, given)
    raise_opset(graph, writer.opset(placement))
    written = {a.tensor: writer.activation(a.tensor, wanted[a.tensor]) for a in placement.activations}
    for activation in placement.activations:
        for read in activation.reads:
            writer.connect(read.node, read.index, activation.tensor)
            writer.count_padding(read.node)
    for weight in placement.weights:
        writer.weight(weight)
    for node in given.biases:
        writer.bias(node)
    writer.finish()
    if options.high_precision == "fp16":
        to_float16(graph, [*wide, *(writer.pairs[name].name for name in written if name in wide)])
    return Inserted(written, dict(writer.dead), dict(writer.weight_scales))


class _Writer:
    """Makes pairs and connects them; `finish` puts the new nodes into the graph."""

    def __init__(
        self, graph: gs.Graph, options: QdqOptions, wide: frozenset[str], given: GivenWeights
    ) -> None:
        self.graph = graph
        self.options = options
        self.wide = wide
        self.given = given
        self.node: dict[str, gs.Node] = {node.outputs[0].name: node for node in graph.nodes if node.outputs}
        self.tensors: dict[str, gs.Tensor] = graph.tensors()
        self.names = Names(names_in(graph))
        self.constants = Constants(graph, opaque=QUANTIZED)
        self.make = PairNodes(self.names)
        self.pairs: dict[str, gs.Tensor] = {}
        self.behind: dict[str, list[gs.Node]] = {}
        self.before: dict[str, list[gs.Node]] = {}
        self.shared_weights: dict[tuple[str, int | None, bool], gs.Tensor] = {}
        self.dead: dict[str, int] = {}
        self.weight_scales: dict[str, np.ndarray] = {}

    def opset(self, placement: Placement) -> int:
        """The opset the pairs need, or the higher one asked for."""
        names = [each.tensor for each in placement.activations] + [each.tensor for each in placement.weights]
        needed = _PER_CHANNEL_OPSET
        if any(self._scale_dtype(self.tensors[name]) != np.float32 for name in names):
            needed = _FLOAT16_OPSET
        if self.options.opset is not None and self.options.opset < needed:
            raise OptionError(
                f"opset {self.options.opset} is too low: this model's Q/DQ needs {needed}",
                fix=f"leave the opset out, or ask for {needed} or more",
            )
        return max(needed, self.options.opset or 0)

    def activation(self, name: str, scale: float) -> float:
        """Makes the pair of a tensor; returns its scale as written."""
        tensor = self.tensors[name]
        dtype = self._scale_dtype(tensor)
        value = round_up(np.asarray(scale), dtype)
        q, dq = self.make.pair(tensor, value, None)
        self.pairs[name] = dq.outputs[0]
        producer = tensor.inputs[0].outputs[0].name if tensor.inputs else ""
        self.behind.setdefault(producer, []).extend([q, dq])
        return float(value)

    def connect(self, node: str, index: int, tensor: str) -> None:
        """Lets a node read a tensor's pair instead of the tensor."""
        self.node[node].inputs[index] = self.pairs[tensor]

    def count_padding(self, node: str) -> None:
        """States that an AveragePool without padding counts its padding, which changes nothing.

        NVIDIA's compiler has INT8 kernels for an AveragePool that counts it, and for few of the others.
        """
        pool = self.node[node]
        if pool.op != "AveragePool" or any(pool.attrs.get("pads", ())) or pool.attrs.get("ceil_mode", 0):
            return
        if pool.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
            pool.attrs["count_include_pad"] = 1

    def weight(self, weight: Weight) -> None:
        """Stores a weight as INT8 with DQ, or as float with Q and DQ, once for all that read it alike."""
        key = (weight.tensor, weight.axis, weight.stays_float)
        if key not in self.shared_weights:
            self.shared_weights[key] = self._weight(weight)
        self.node[weight.read.node].inputs[weight.read.index] = self.shared_weights[key]

    def _weight(self, weight: Weight) -> gs.Tensor:
        import onnx_graphsurgeon as gs

        tensor = self.tensors[weight.tensor]
        values = self.constants.value(tensor)
        if values is None:
            raise ModelError(f"weight {weight.tensor!r} is not constant")
        limit = weight_limit(self.options.weight_bits)
        found = weight_scales(values, weight.axis, weight.tensor, limit)
        if found.dead:
            self.dead[weight.tensor] = len(found.dead)
        dtype = self._scale_dtype(tensor)
        scale = round_up(self.given.scales.get(weight.tensor, found.scales), dtype)
        self.weight_scales[weight.tensor] = scale
        integers = self.given.integers.get(weight.tensor)
        if integers is None and (weight.tensor in self.given.scales or limit != WEIGHT_MAX):
            integers = quantize_weight(values, scale, weight.axis, limit)
        if weight.axis is None:
            scale = scale.reshape(())
        if weight.stays_float:
            source = tensor
            if integers is not None:
                # Values of the grid, which Q rounds to these integers.
                along = broadcast_scales(scale.astype(np.float32), weight.axis, values.ndim)
                exact = (integers.astype(np.float32) * along).astype(values.dtype)
                source = gs.Constant(self.names.fresh(f"{weight.tensor}_rounded"), exact)
            elif not isinstance(tensor, gs.Constant):
                source = gs.Constant(self.names.fresh(f"{weight.tensor}_constant"), values)
            nodes = list(self.make.pair(source, scale, weight.axis))
        else:
            if integers is None:
                integers = quantize_weight(values, scale, weight.axis)
            stored = gs.Constant(self.names.fresh(f"{weight.tensor}_quantized"), integers)
            nodes = [self.make.dequantizer(weight.tensor, stored, scale, weight.axis)]
        self.before.setdefault(weight.read.node, []).extend(nodes)
        nodes[-1].outputs[0].dtype, nodes[-1].outputs[0].shape = values.dtype, list(values.shape)
        return nodes[-1].outputs[0]

    def bias(self, name: str) -> None:
        """Lets a node read a given bias."""
        import onnx_graphsurgeon as gs

        node, given = self.node[name], self.given.biases[name]
        while len(node.inputs) <= given.index:
            node.inputs.append(gs.Variable.empty())
        old = node.inputs[given.index]
        wanted = f"{old.name}_corrected" if old.name else f"{name}_bias"
        node.inputs[given.index] = gs.Constant(self.names.fresh(wanted), given.value)

    def _scale_dtype(self, tensor: gs.Tensor) -> np.dtype:
        """The type of a tensor's scales, which is what its DQ makes."""
        half = self.options.high_precision == "fp16" and tensor.name not in self.wide
        half = half or tensor.dtype == np.float16
        return np.dtype(np.float16 if half else np.float32)

    def finish(self) -> None:
        """Puts the new nodes where they can run: pairs behind what they quantize, weights before a reader."""
        ordered: list[gs.Node] = list(self.behind.get("", []))
        for node in self.graph.nodes:
            name = node.outputs[0].name if node.outputs else ""
            ordered += [*self.before.get(name, ()), node, *(self.behind.get(name, ()) if name else ())]
        unread = self._unread()
        self.graph.nodes.clear()
        self.graph.nodes.extend(node for node in ordered if id(node) not in unread)

    def _unread(self) -> set[int]:
        """Nodes that computed nothing but weights which are stored in INT8 now; taken apart here."""
        outputs = {tensor.name for tensor in self.graph.outputs}
        pending = [node for name, *_ in self.shared_weights for node in self.tensors[name].inputs]
        found: set[int] = set()
        while pending:
            node = pending.pop()
            if id(node) in found or any(t.outputs or t.name in outputs for t in node.outputs):
                continue
            found.add(id(node))
            pending += [maker for tensor in node.inputs for maker in tensor.inputs]
            node.inputs.clear()
        return found
