"""Who makes and who reads each tensor of a graph: what the graph modules ask, answered by dicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.model.order import running_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx_graphsurgeon as gs

__all__ = ["Links", "captured", "kind", "link", "reads"]


def kind(node: gs.Node) -> str:
    """The node's op type; with "domain:" before it when it is not one of ONNX's own operators."""
    return node.op if node.domain in (None, "", "ai.onnx") else f"{node.domain}:{node.op}"


def reads(node: gs.Node) -> Iterator[str]:
    """Names of all tensors a node needs: its inputs, then what its subgraphs take from outside."""
    for tensor in node.inputs:
        if tensor.name:
            yield tensor.name
    yield from captured(node)


def captured(node: gs.Node) -> Iterator[str]:
    """Tensors, initializers aside, that a node's subgraphs (If, Loop, Scan) take from outside, by name."""
    from onnx_graphsurgeon import Constant

    for body in node.subgraphs():
        local = {t.name for t in body.inputs} | {t.name for inner in body.nodes for t in inner.outputs}
        read = [t for inner in body.nodes for t in inner.inputs] + list(body.outputs)
        local |= {t.name for t in read if not t.name or isinstance(t, Constant)}
        yield from (t.name for t in read if t.name not in local)
        for inner in body.nodes:
            yield from (name for name in captured(inner) if name not in local)


@dataclass(frozen=True)
class Links:
    """A graph seen through its tensor names; nodes are numbered in topological order.

    Attributes:
        nodes: the main graph's nodes, topologically sorted.
        producer: tensor -> number of the node that makes it (graph inputs and initializers have none).
        consumers: tensor -> numbers of the nodes that read it directly, each once, ascending.
        inputs: names of the graph's inputs.
        outputs: names of the graph's outputs.
        pinned: tensors that stay visible whatever is fused: graph outputs, and what subgraphs read.
        constants: tensors whose values depend on no graph input and on no random generator.
        depth: per node, the number of nodes on the longest path that ends in it.
        tensors: the graph's tensors by name.
    """

    nodes: tuple[gs.Node, ...]
    producer: dict[str, int]
    consumers: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    pinned: frozenset[str]
    constants: frozenset[str]
    depth: tuple[int, ...]
    tensors: dict[str, gs.Tensor]

    def maker(self, name: str) -> gs.Node | None:
        """The node that makes a tensor."""
        at = self.producer.get(name)
        return None if at is None else self.nodes[at]

    def only_reader(self, name: str) -> int | None:
        """The number of the one node that reads a tensor; None when it is pinned, or has more or no readers"""
        readers = self.consumers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.pinned else None

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """What the graph itself says about a tensor's shape."""
        shape = self.tensors[name].shape if name in self.tensors else None
        return None if shape is None else tuple(shape)

    def vector_axis(self, name: str) -> int | None:
        """The one axis longer than 1 of a constant, as a bias has it, counted from the end; None for others."""
        shape = self._constant_shape(name)
        long = [axis for axis, size in enumerate(shape or ()) if size != 1]
        return long[0] - len(shape or ()) if len(long) == 1 else None

    def scalar_constant(self, name: str) -> bool:
        """Whether a tensor is a constant of one value."""
        shape = self._constant_shape(name)
        return shape is not None and all(size == 1 for size in shape)

    def scalar(self, name: str) -> float | None:
        """The value of a stored constant of one value; None for other tensors."""
        if not self.scalar_constant(name):
            return None
        stored = _stored(self.maker(name))
        value = getattr(self.tensors[name] if stored is None else stored, "values", stored)
        return None if value is None else float(np.reshape(value, -1)[0])

    def rank(self, name: str) -> int | None:
        """A tensor's number of axes, where it is known."""
        shape = self._constant_shape(name) or self.shape(name)
        return None if shape is None else len(shape)

    def _constant_shape(self, name: str) -> tuple[int | str | None, ...] | None:
        if name not in self.constants:
            return None
        value = _stored(self.maker(name))
        if value is not None:
            return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
        return self.shape(name)


def _stored(node: gs.Node | None) -> Any:
    """What a Constant node holds: a tensor (with .values), a number or a list; None for other nodes."""
    return next(iter(node.attrs.values()), None) if node is not None and kind(node) == "Constant" else None


def link(graph: gs.Graph) -> Links:
    """Reads a graph once; the graph is not changed. O(nodes + edges).

    Nodes that lie on a cycle, which no valid model has, are left out.
    """
    found = list(graph.nodes)
    needs = [list(reads(node)) for node in found]
    makes = [[t.name for t in node.outputs if t.name] for node in found]
    order = running_order(needs, makes)
    nodes = tuple(found[i] for i in order)
    producer = {name: at for at, i in enumerate(order) for name in makes[i]}
    direct: dict[str, dict[int, None]] = {}
    depth: list[int] = []
    for at, i in enumerate(order):
        for tensor in found[i].inputs:
            if tensor.name:
                direct.setdefault(tensor.name, {})[at] = None
        depth.append(1 + max((depth[producer[n]] for n in needs[i] if producer.get(n, at) < at), default=0))
    tensors = {t.name: t for node in nodes for t in (*node.inputs, *node.outputs) if t.name}
    tensors |= {t.name: t for t in (*graph.inputs, *graph.outputs)}
    outputs = tuple(t.name for t in graph.outputs)
    taken = (name for node in nodes for name in captured(node))
    return Links(
        nodes=nodes,
        producer=producer,
        consumers={name: tuple(readers) for name, readers in direct.items()},
        inputs=tuple(t.name for t in graph.inputs),
        outputs=outputs,
        pinned=frozenset([*outputs, *taken]),
        constants=_constants(nodes, tensors.values()),
        depth=tuple(depth),
        tensors=tensors,
    )


def _constants(nodes: Iterable[gs.Node], tensors: Iterable[gs.Tensor]) -> frozenset[str]:
    from onnx_graphsurgeon import Constant

    known = {t.name for t in tensors if isinstance(t, Constant)}
    for node in nodes:
        if kind(node) not in ops.RANDOM and all(name in known for name in reads(node)):
            known.update(t.name for t in node.outputs if t.name)
    return frozenset(known)
