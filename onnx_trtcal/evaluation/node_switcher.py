"""Moves nodes into If branches, one with the node's Q/DQ pairs and one without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.place.placement import Read

__all__ = ["NodeSwitcher"]


class NodeSwitcher:
    """Puts nodes of a Q/DQ graph that read anything quantized into the branches of Ifs.

    Args:
        graph: the Q/DQ graph; changed in place.
        weights: (first output of a node, input index) -> the float weight that was quantized there.
        lifted: first output of a node that reads a pair on behalf of others -> their reads.
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
        """Rewrites the graph; returns node -> graph input, for every node of `wanted`."""
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
        """Moves a pair from in front of a node to behind it, to the reads that it is for."""
        pair = self._pair(node.inputs[0])
        assert pair is not None
        node.inputs[0] = pair[0].inputs[0]
        self.lowered.update({(read.node, read.index): pair for read in reads})

    def _branch(self, node: gs.Node, name: str, plain: list[gs.Tensor] | None = None) -> gs.Graph:
        """A graph of one node and the pairs of what it reads; everything else comes from outside.

        Args:
            node: the node.
            name: of the graph and of the node in it.
            plain: what the node reads if nothing is quantized; None for the quantized form.
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
        """What a node in a branch reads; a copy of its pair is added to `inside`, the nodes of the branch."""
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
        """What the node reads without pairs and with float weights. Other inputs may differ, for the new opset."""
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
        """A tensor of the main graph that branches can refer to; a constant gets an Identity, which folds away."""
        import onnx_graphsurgeon as gs

        if not isinstance(tensor, gs.Constant):
            return tensor
        if tensor.name not in self.aliases:
            values = self.made.setdefault(tensor.name, gs.Constant(tensor.name, tensor.values))
            alias = gs.Variable(f"outer {tensor.name}", dtype=tensor.dtype, shape=tensor.shape)
            self.nodes.append(gs.Node("Identity", name=alias.name, inputs=[values], outputs=[alias]))
            self.aliases[tensor.name] = alias
        return self.aliases[tensor.name]
