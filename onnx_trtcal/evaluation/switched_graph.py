"""A Q/DQ model in which a graph input turns each quantized node to INT8 or back to floating point.

If(switch)   then  tensor ─► QuantizeLinear ─► DequantizeLinear ─► node(quantized weight)
             else  tensor ─────────────────────────────────────► node(weight)

With all switches off it computes exactly what the folded float model does, with all of them on exactly what the
Q/DQ model does, and likewise for anything in between: every variant is a run of one session. Only the branch
taken costs time, and weights stay constants, which ONNX Runtime packs for its fastest kernels.

Where an op that only moves values reads a pair on behalf of others (tensor ─► Q ─► DQ ─► MaxPool ─► node), the
pair is behind it here, with the same scale and the same values: it is those others that run in INT8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.evaluation.node_switcher import NodeSwitcher
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import QUANTIZED
from onnx_trtcal.qdq.given_weights import GivenWeights

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.prepared import FoldedModel
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["SwitchedGraph", "build_switched_graph", "quantized_nodes"]


@dataclass(frozen=True)
class SwitchedGraph:
    """A model and the switches of its quantized nodes.

    Attributes:
        graph: takes the model's inputs and one bool scalar per switch.
        model: what `graph` is exported against.
        source: the float model it was built from.
        folded: its graph, BatchNorm folded.
        groups: those of `folded`.
        placement: what is quantized with all switches on.
        switches: first output of a node with quantized reads -> the graph input that turns it to INT8.
        names: first output of a node -> the node's name; nodes without a name are left out.
        ops: first output of a node -> its op type.
    """

    graph: gs.Graph
    model: Model
    source: Model
    folded: gs.Graph
    groups: tuple[Group, ...]
    placement: Placement
    switches: Mapping[str, str]
    names: Mapping[str, str]
    ops: Mapping[str, str]

    def feeds(self, on: Iterable[str]) -> dict[str, np.ndarray]:
        """What to feed for a variant, besides the samples.

        Args:
            on: the nodes to run in INT8, by their first outputs; unknown ones are ignored.
        """
        wanted = frozenset(on)
        return {name: np.array(node in wanted) for node, name in self.switches.items()}


def quantized_nodes(placement: Placement) -> frozenset[str]:
    """First outputs of the nodes that read anything quantized; a node's reads are quantized together or not at all.

    A pair that is read by an op which only moves values counts for the ops behind it.
    """
    direct = (read for activation in placement.activations for read in activation.reads)
    activations = (final.node for read in direct for final in placement.lifted.get(read.node, (read,)))
    return frozenset((*activations, *(weight.read.node for weight in placement.weights)))


def build_switched_graph(
    float_model: FoldedModel,
    scales: Mapping[str, float],
    options: QdqOptions,
    unseen: Collection[str] = (),
    given: GivenWeights = GivenWeights(),
) -> SwitchedGraph:
    """Builds the switched graph of a float model.

    Args:
        float_model: the float model, folded; not changed.
        scales: tensor -> scale.
        options: what is quantized with all switches on.
        unseen: tensors whose scale is made up: the layers that read one stay in floating point.
        given: scales of weights that a search found.

    Raises:
        ModelError: no layer can be quantized.
    """
    from onnx_trtcal.qdq.write.quantize_model import quantize_model

    # Only rounding to INT8 is measured here, so everything else can stay float32.
    quantized = quantize_model(
        float_model.model, scales, replace(options, high_precision="fp32", weights="int8"), unseen, given
    )
    plain = {node.outputs[0].name: node for node in float_model.folded.nodes if node.outputs}
    constants = Constants(float_model.folded, opaque=QUANTIZED)
    weights = {
        (weight.read.node, weight.read.index): _as_stored(
            plain[weight.read.node].inputs[weight.read.index], constants
        )
        for weight in quantized.placement.weights
    }
    switcher = NodeSwitcher(quantized.graph, weights, quantized.placement.lifted)
    switches = switcher.switch(quantized_nodes(quantized.placement))
    return SwitchedGraph(
        quantized.graph,
        quantized.model,
        float_model.model,
        float_model.folded,
        float_model.groups,
        quantized.placement,
        switches,
        {name: node.name for name, node in plain.items() if node.name},
        {name: node.op for name, node in plain.items()},
    )


def _as_stored(weight: gs.Tensor, constants: Constants) -> gs.Tensor:
    """A weight as a constant: the nodes that compute it are not in the Q/DQ graph any more."""
    import onnx_graphsurgeon as gs

    if isinstance(weight, gs.Constant):
        return weight
    values = constants.value(weight)
    return weight if values is None else gs.Constant(weight.name, values)
