"""Subgraphs as models of their own: from tensors that are fed to tensors that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import helper

from onnx_trtcal.graph.model.exporter import split_model
from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.qdq.place.placement import Read

__all__ = ["ExportedGraph"]


class ExportedGraph:
    """A graph that subgraphs are taken from; it is exported once.

    Args:
        graph: topologically sorted; not changed.
        model: what `graph` was imported from.

    Attributes:
        inputs: names of the graph's inputs, weights left out.
        outputs: names of its outputs.
        other_outputs: those of them that are not tensors, but sequences, maps or optionals.
        nodes: in running order.
    """

    def __init__(self, graph: gs.Graph, model: Model) -> None:
        self._split = split_model(graph, model)
        proto = self._split.proto.graph
        self._stored = {tensor.name: tensor for tensor in proto.initializer}
        self._sparse = {tensor.values.name for tensor in proto.sparse_initializer}
        self.inputs = tuple(value.name for value in proto.input if value.name not in self._stored)
        self.outputs = tuple(value.name for value in proto.output)
        self.other_outputs = frozenset(
            value.name
            for value in proto.output
            if value.type.WhichOneof("value") not in (None, "tensor_type", "sparse_tensor_type")
        )
        self.nodes: tuple[onnx.NodeProto, ...] = tuple(proto.node)
        self._reads = [tuple(reads(node)) for node in self.nodes]

    def reads(self, at: int) -> tuple[str, ...]:
        """What a node reads, its subgraphs included."""
        return self._reads[at]

    def behind(self, readers: Iterable[Read]) -> list[int]:
        """Positions of the nodes that read, and of all that depend on them, in running order."""
        first = {read.node for read in readers}
        changed: set[str] = set()
        found = []
        for at, node in enumerate(self.nodes):
            if (node.output and node.output[0] in first) or not changed.isdisjoint(self._reads[at]):
                found.append(at)
                changed.update(name for name in node.output if name)
        return found

    def before(self, wanted: Iterable[str]) -> list[int]:
        """Positions of the nodes that some tensors depend on, in running order."""
        needed = set(wanted)
        found = []
        for at in range(len(self.nodes) - 1, -1, -1):
            if not needed.isdisjoint(self.nodes[at].output):
                found.append(at)
                needed.update(self._reads[at])
        return found[::-1]

    def boundary(
        self, nodes: Sequence[int], without: AbstractSet[tuple[str, int]] = frozenset()
    ) -> tuple[str, ...]:
        """The tensors that some nodes read and do not make, weights left out.

        Args:
            nodes: positions of the nodes.
            without: (first output of a node, position of its input) of reads that do not count.
        """
        made = {name for at in nodes for name in self.nodes[at].output}
        found: dict[str, None] = {}
        for at in nodes:
            node = self.nodes[at]
            direct = {
                name for k, name in enumerate(node.input) if name and (node.output[0], k) not in without
            }
            inner = set(self._reads[at]) - set(node.input)
            for name in (*node.input, *sorted(inner)):
                if name in direct or name in inner:
                    found[name] = None
        return tuple(
            name
            for name in found
            if name not in made and name not in self._stored and name not in self._sparse
        )

    def model(
        self,
        nodes: Sequence[int],
        fed: Mapping[str, int],
        wanted: Sequence[str],
        rewired: Mapping[tuple[str, int], str] | None = None,
    ) -> Probe:
        """Some nodes as a model.

        Args:
            nodes: positions of the nodes.
            fed: names of its inputs -> their ONNX element types.
            wanted: its outputs, which the nodes make.
            rewired: (first output of a node, position of its input) -> the input it reads there.
        """
        whole = self._split.proto
        proto = onnx.ModelProto(ir_version=max(whole.ir_version, 4))
        proto.opset_import.extend(whole.opset_import)
        proto.functions.extend(whole.functions)
        proto.graph.name = "subgraph"
        used: set[str] = set()
        for at in nodes:
            node = proto.graph.node.add()
            node.CopyFrom(self.nodes[at])
            for (name, index), tensor in (rewired or {}).items():
                if node.output[0] == name:
                    node.input[index] = tensor
            used.update(reads(node))
        proto.graph.initializer.extend(t for name, t in self._stored.items() if name in used)
        proto.graph.sparse_initializer.extend(
            t for t in whole.graph.sparse_initializer if t.values.name in used
        )
        # Without shapes: the subgraph must take whatever comes.
        proto.graph.input.extend(helper.make_tensor_value_info(k, v, None) for k, v in fed.items())
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        arrays = {name: array for name, array in self._split.arrays.items() if name in used}
        return Probe(proto.SerializeToString(), arrays, self._split.directory, tuple(wanted))
