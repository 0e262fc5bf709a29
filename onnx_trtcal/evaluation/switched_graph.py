"""A Q/DQ model in which every quantized node can be switched on and off by a graph input.

If(switch)   then  tensor ─► QuantizeLinear ─► DequantizeLinear ─► node(quantized weight)
             else  tensor ─────────────────────────────────────► node(weight)

With all switches off it computes exactly what the folded float model does, with all of them on exactly what the
Q/DQ model does, and so for anything in between: every variant is a run of one session. Only the branch taken
costs time, and weights stay constants, which ONNX Runtime packs for its fastest kernels.

Where an op that only moves values reads a pair for the sake of others (tensor ─► Q ─► DQ ─► MaxPool ─► node),
the pair is behind it here, with the same scale and the same values: it is the others that INT8 is for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.qdq.place.placement import Placement, Read

__all__ = ["Switchboard", "readers_of", "switchboard"]


@dataclass(frozen=True)
class Switchboard:
    """The model with its switches.

    Attributes:
        graph: takes the model's inputs and a bool scalar per switch.
        model: what `graph` is exported against.
        source: the float model.
        folded: its graph, BatchNorm folded.
        groups: those of `folded`.
        placement: what is quantized with all switches on.
        switches: first output of a node with quantized reads -> the graph input that turns them on.
        names: first output of a node -> the node's name; nodes without one are left out.
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
        """What to feed for a variant, besides the samples: the nodes to quantize; unknown ones are ignored."""
        wanted = frozenset(on)
        return {name: np.array(node in wanted) for node, name in self.switches.items()}


def readers_of(placement: Placement) -> frozenset[str]:
    """First outputs of the nodes that read anything quantized. A node's reads are quantized together or not.

    A pair that an op only passes on is read by those it passes it on to.
    """
    direct = (read for activation in placement.activations for read in activation.reads)
    activations = (final.node for read in direct for final in placement.lifted.get(read.node, (read,)))
    return frozenset((*activations, *(weight.read.node for weight in placement.weights)))


def switchboard(model: Model, scales: Mapping[str, float], options: QdqOptions) -> Switchboard:
    """Makes the switched model.

    Args:
        model: the float model; not changed.
        scales: tensor -> scale.
        options: what is quantized with all switches on.

    Raises:
        ModelError: when no layer can be quantized.
    """
    from onnx_trtcal.graph.fold.fold import fold
    from onnx_trtcal.graph.groups.group import find_groups
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.qdq.write.quantize_model import quantize_model

    # Only what is rounded to INT8 counts here, so that everything else can stay float32.
    quantized = quantize_model(model, scales, replace(options, high_precision="fp32", weights="int8"))
    folded = import_graph(model)
    fold(folded)
    plain = {node.outputs[0].name: node for node in folded.nodes if node.outputs}
    weights = {
        (weight.read.node, weight.read.index): plain[weight.read.node].inputs[weight.read.index]
        for weight in quantized.placement.weights
    }
    switcher = _Switcher(quantized.graph, weights, quantized.placement.lifted)
    switches = switcher.switch(readers_of(quantized.placement))
    return Switchboard(
        quantized.graph,
        quantized.model,
        model,
        folded,
        find_groups(folded, model.shapes),
        quantized.placement,
        switches,
        {name: node.name for name, node in plain.items() if node.name},
        {name: node.op for name, node in plain.items()},
    )


class _Switcher:
    """Puts the nodes of a Q/DQ graph that read anything quantized into the branches of Ifs.

    Args:
        graph: the Q/DQ graph, which is changed.
        weights: (first output of a node, input index) -> the float weight that was quantized there.
        lifted: first output of a node that passes a pair on -> the reads it does so for.
    """

    def __init__(
        self,
        graph: gs.Graph,
        weights: Mapping[tuple[str, int], gs.Tensor],
        lifted: Mapping[str, Sequence[Read]],
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.made = graph.tensors()
        self.lowered: dict[tuple[str, int], tuple[gs.Node, gs.Node]] = {}
        for node in graph.nodes:
            if node.outputs and node.outputs[0].name in lifted:
                self._lower(node, lifted[node.outputs[0].name])
        self.nodes: list[gs.Node] = []
        self.aliases: dict[str, gs.Variable] = {}

    def switch(self, wanted: frozenset[str]) -> dict[str, str]:
        """Rewrites the graph; returns the switch of every node of `wanted`."""
        import onnx_graphsurgeon as gs

        found: dict[str, str] = {}
        for node in list(self.graph.nodes):
            name = node.outputs[0].name if node.outputs else ""
            if name not in wanted:
                self.nodes.append(node)
                continue
            switch = gs.Variable(f"quantize {name}", dtype=np.bool_, shape=[])
            outer = list(node.outputs)
            branches = {
                "then_branch": self._branch(node, f"quantized {name}"),
                "else_branch": self._branch(node, f"plain {name}", self._plain_inputs(node)),
            }
            node.inputs.clear()
            node.outputs.clear()
            self.nodes.append(
                gs.Node("If", name=f"If {name}", attrs=branches, inputs=[switch], outputs=outer)
            )
            self.graph.inputs.append(switch)
            found[name] = switch.name
        self.graph.nodes.clear()
        self.graph.nodes.extend(self.nodes)
        return found

    def _lower(self, node: gs.Node, reads: Iterable[Read]) -> None:
        """Moves a pair in front of a node behind it, to the reads it is for."""
        pair = self._pair(node.inputs[0])
        assert pair is not None
        node.inputs[0] = pair[0].inputs[0]
        self.lowered.update({(read.node, read.index): pair for read in reads})

    def _branch(self, node: gs.Node, name: str, plain: list[gs.Tensor] | None = None) -> gs.Graph:
        """A graph of one node; the pairs of what it reads are in it, all else comes from outside.

        Args:
            plain: what it reads where nothing is quantized.
        """
        import onnx_graphsurgeon as gs

        inside: list[gs.Node] = []
        if plain is not None:
            read = [self._inside(tensor, None, name, inside) for tensor in plain]
        else:
            read = [
                self._inside(tensor, self._pair_of(node, index), f"{name} input {index}", inside)
                for index, tensor in enumerate(node.inputs)
            ]
        outputs = [
            gs.Variable(f"{name} {index}", dtype=each.dtype) for index, each in enumerate(node.outputs)
        ]
        copy = gs.Node(node.op, name=name, attrs=node.attrs, inputs=read, outputs=outputs, domain=node.domain)
        return gs.Graph(nodes=[*inside, copy], outputs=outputs, name=name, opset=self.graph.opset)

    def _pair_of(self, node: gs.Node, index: int) -> tuple[gs.Node, gs.Node] | None:
        return self.lowered.get((node.outputs[0].name, index)) or self._pair(node.inputs[index])

    def _inside(
        self, tensor: gs.Tensor, pair: tuple[gs.Node, gs.Node] | None, name: str, inside: list[gs.Node]
    ) -> gs.Tensor:
        import onnx_graphsurgeon as gs

        if not tensor.name:
            return gs.Variable.empty()
        if pair is None:
            return gs.Variable(self._from_outside(tensor).name, dtype=tensor.dtype)
        q, dq = pair
        source = q.inputs[0] if self._pair(tensor) else tensor
        read: gs.Tensor = gs.Variable(source.name, dtype=source.dtype)
        for index, node in enumerate((q, dq)):
            constants = [
                gs.Constant(f"{name} {index} {at}", each.values)
                for at, each in enumerate(node.inputs[1:])
                if isinstance(each, gs.Constant)
            ]
            made = gs.Variable(f"{name} {node.outputs[0].name}", dtype=node.outputs[0].dtype)
            inside.append(gs.Node(node.op, attrs=node.attrs, inputs=[read, *constants], outputs=[made]))
            read = made
        return read

    @staticmethod
    def _pair(tensor: gs.Tensor) -> tuple[gs.Node, gs.Node] | None:
        """The Q and DQ that an activation is read through."""
        dq = tensor.inputs[0] if tensor.inputs else None
        if dq is None or dq.op != "DequantizeLinear" or not dq.inputs[0].inputs:
            return None
        return dq.inputs[0].inputs[0], dq

    def _plain_inputs(self, node: gs.Node) -> list[gs.Tensor]:
        """What the node read before: the opset may have changed its other inputs since."""
        inputs: list[gs.Tensor] = []
        for index, tensor in enumerate(node.inputs):
            weight = self.weights.get((node.outputs[0].name, index))
            pair = self._pair(tensor)
            if weight is not None:
                inputs.append(self.made.get(weight.name, weight))
            else:
                inputs.append(tensor if pair is None else pair[0].inputs[0])
        return inputs

    def _from_outside(self, tensor: gs.Tensor) -> gs.Tensor:
        """A tensor of the main graph that branches may name; constants get a node there, which folds away."""
        import onnx_graphsurgeon as gs

        if not isinstance(tensor, gs.Constant):
            return tensor
        if tensor.name not in self.aliases:
            values = self.made.setdefault(tensor.name, gs.Constant(tensor.name, tensor.values))
            alias = gs.Variable(f"outer {tensor.name}", dtype=tensor.dtype, shape=tensor.shape)
            self.nodes.append(gs.Node("Identity", name=alias.name, inputs=[values], outputs=[alias]))
            self.aliases[tensor.name] = alias
        return self.aliases[tensor.name]
