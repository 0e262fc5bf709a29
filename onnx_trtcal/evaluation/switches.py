"""A Q/DQ model in which every quantized read can be switched on and off by a graph input.

tensor ─┬─► QuantizeLinear ─► DequantizeLinear ─► Where(switch, quantized, plain) ─► the reader
        └──────────────────────────────────────────────────────────────▲

With all switches off it computes exactly what the folded float model does, with all of them on exactly what the
Q/DQ model does, and so for anything in between: every variant is a run of one session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.placement import Placement, Read

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.fuse import Group
    from onnx_trtcal.graph.load import Model

__all__ = ["Switchboard", "reads_of", "switchboard"]


@dataclass(frozen=True)
class Switchboard:
    """The model with its switches.

    Attributes:
        graph: takes the model's inputs and a bool scalar per switch.
        model: what `graph` is exported against.
        source: the float model.
        groups: the kernels of the folded graph.
        placement: what is quantized with all switches on.
        switches: quantized read -> the graph input that turns it on.
        names: first output of a node -> the node's name; nodes without one are left out.
        ops: first output of a node -> its op type.
    """

    graph: gs.Graph
    model: Model
    source: Model
    groups: tuple[Group, ...]
    placement: Placement
    switches: Mapping[Read, str]
    names: Mapping[str, str]
    ops: Mapping[str, str]

    def feeds(self, on: Iterable[Read]) -> dict[str, np.ndarray]:
        """What to feed for a variant, besides the samples: the reads to quantize; unknown ones are ignored."""
        wanted = frozenset(on)
        return {name: np.array(read in wanted) for read, name in self.switches.items()}


def reads_of(placement: Placement) -> frozenset[Read]:
    """Every quantized read of a placement, of activations and of weights."""
    activations = (read for activation in placement.activations for read in activation.reads)
    return frozenset((*activations, *(weight.read for weight in placement.weights)))


def switchboard(model: Model, scales: Mapping[str, float], options: QdqOptions) -> Switchboard:
    """Makes the switched model.

    Args:
        model: the float model; not changed.
        scales: tensor -> scale.
        options: what is quantized with all switches on.

    Raises:
        ModelError: when no layer can be quantized.
    """
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.fold import fold
    from onnx_trtcal.graph.fuse import find_groups
    from onnx_trtcal.graph.surgeon import import_graph
    from onnx_trtcal.qdq.quantize import quantize_model

    # Only what is rounded to INT8 counts here, so that everything else can stay float32.
    plain_options = replace(options, high_precision="fp32")
    quantized = quantize_model(model, scales, plain_options)
    folded = import_graph(model)
    fold(folded)
    groups = find_groups(folded, model.shapes)
    graph, placement = quantized.graph, quantized.placement
    plain = {node.outputs[0].name: [tensor.name for tensor in node.inputs] for node in folded.nodes}
    tensors = {**folded.tensors(), **graph.tensors()}
    made = graph.tensors()
    switches: dict[Read, str] = {}
    ordered: list[gs.Node] = []
    wanted = reads_of(placement)
    for node in list(graph.nodes):
        name = node.outputs[0].name if node.outputs else ""
        for index in range(len(node.inputs)):
            read = Read(name, index)
            if read not in wanted:
                continue
            switch = gs.Variable(f"quantize {name} {index}", dtype=np.bool_, shape=[])
            original = tensors[plain[name][index]]
            if original.name not in made:
                # A weight that the quantized graph holds as INT8 only; made from scratch, to be its own.
                original = gs.Constant(original.name, original.values)
                made[original.name] = original
            chosen = gs.Variable(f"chosen {name} {index}", dtype=original.dtype, shape=original.shape)
            where = gs.Node(
                "Where",
                name=f"choose {name} {index}",
                inputs=[switch, node.inputs[index], made[original.name]],
                outputs=[chosen],
            )
            node.inputs[index] = chosen
            graph.inputs.append(switch)
            switches[read] = switch.name
            ordered.append(where)
        ordered.append(node)
    graph.nodes.clear()
    graph.nodes.extend(ordered)
    return Switchboard(
        graph,
        quantized.model,
        model,
        groups,
        placement,
        switches,
        {node.outputs[0].name: node.name for node in folded.nodes if node.outputs and node.name},
        {node.outputs[0].name: node.op for node in folded.nodes if node.outputs},
    )
