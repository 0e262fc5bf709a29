"""How values travel through a graph: who reads a tensor at which input, and which ops only move values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import COMMUTES, QUANTIZED, TIED
from onnx_trtcal.graph.view import captured, kind, link

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import onnx_graphsurgeon as gs

__all__ = ["Flow"]

_OUTSIDE = -1


class Flow:
    """A graph read once; the graph is not changed.

    Attributes:
        nodes: topologically sorted.
        node: first output -> node.
        tensors: names in graph order, graph inputs first.
        constants: the values of its constants. What Q and DQ make is none of them: a weight that is
            quantized already is what stands before its Q, or the integers before its DQ.
    """

    def __init__(self, graph: gs.Graph) -> None:
        links = link(graph)
        self.constants = Constants(graph, opaque=QUANTIZED)
        self.nodes: tuple[gs.Node, ...] = tuple(node for node in links.nodes if node.outputs)
        self.node: dict[str, gs.Node] = {node.outputs[0].name: node for node in self.nodes}
        self.tensors: tuple[str, ...] = (
            *links.inputs,
            *(tensor.name for node in self.nodes for tensor in node.outputs if tensor.name),
        )
        self._activations = frozenset(self.tensors) - links.constants
        self._links = links
        self._consumers: dict[str, list[tuple[gs.Node, int]]] = {}
        for node in self.nodes:
            for index, tensor in enumerate(node.inputs):
                self._consumers.setdefault(tensor.name, []).append((node, index))
            for name in captured(node):
                self._consumers.setdefault(name, []).append((node, _OUTSIDE))

    def is_activation(self, tensor: str) -> bool:
        """Whether a tensor depends on a graph input."""
        return tensor in self._activations

    def is_output(self, tensor: str) -> bool:
        """Whether a tensor is an output of the graph."""
        return tensor in self._links.outputs

    def consumers(self, tensor: str) -> Sequence[tuple[gs.Node, int]]:
        """The nodes that read a tensor and at which input; -1 for one that reads it in a subgraph."""
        return self._consumers.get(tensor, ())

    def producer(self, tensor: str) -> gs.Node | None:
        """The node that makes a tensor; None for graph inputs and constants."""
        return self._links.maker(tensor)

    def is_tied(self, node: gs.Node) -> bool:
        """Whether a node passes on its first input with its scale."""
        return kind(node) in TIED and bool(node.inputs)

    def moves_above(self, tensor: str) -> list[gs.Node]:
        """The nodes that do no more than move the values of one tensor on to this one, the nearest first."""
        chain: list[gs.Node] = []
        node = self._links.maker(tensor)
        while node is not None and self.is_tied(node) and node.outputs[0].name == tensor:
            chain.append(node)
            tensor = node.inputs[0].name
            node = self._links.maker(tensor)
        return chain

    def reads_dequantized(self, node: gs.Node, index: int, read: Container[tuple[str, int]]) -> bool:
        """Whether a node reads an input from a DQ: directly, or through ops that TensorRT moves the DQ through.

        Args:
            node: the reader.
            index: of its input.
            read: (first output of a node, input index) of what is read directly from a DQ.
        """
        if index >= len(node.inputs):
            return False
        pending = [(node, index)]
        seen: set[tuple[str, int]] = set()
        while pending:
            reader, at = pending.pop()
            place = (reader.outputs[0].name, at)
            if place in read or place in seen:
                continue
            seen.add(place)
            producer = self._links.maker(reader.inputs[at].name)
            if producer is None or not self.data_inputs(producer):
                return False
            pending += [(producer, each) for each in range(len(self.data_inputs(producer)))]
        return True

    def uncast(self, tensor: str) -> str:
        """The tensor that this one is but another type of."""
        node = self._links.maker(tensor)
        while node is not None and kind(node) == "Cast":
            tensor = node.inputs[0].name
            node = self._links.maker(tensor)
        return tensor

    def root(self, tensor: str) -> str:
        """The tensor whose values this one holds, before anything moved them."""
        chain = self.moves_above(tensor)
        return chain[-1].inputs[0].name if chain else tensor

    def branches(self, root: str) -> tuple[str, ...]:
        """The roots of what a Concat joins; nothing for any other tensor."""
        node = self._links.maker(root)
        if node is None or kind(node) != "Concat":
            return ()
        return tuple(dict.fromkeys(self.root(tensor.name) for tensor in node.inputs))

    def data_inputs(self, node: gs.Node) -> Sequence[gs.Tensor]:
        """The inputs of a commuting op whose values it passes on; nothing for any other op."""
        if kind(node) not in COMMUTES:
            return ()
        return node.inputs if node.op == "Concat" else node.inputs[:1]
