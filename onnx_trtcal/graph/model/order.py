"""Nodes in an order in which they can run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.graph.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["bodies", "distinct_names", "outer_names", "reads", "running_order", "sorted_nodes"]


def bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The node itself and every node in its subgraphs."""
    yield node
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from bodies(inner)


def outer_names(graph: onnx.GraphProto) -> set[str]:
    """The names that a subgraph takes from the graphs around it."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(tensor.values.name for tensor in graph.sparse_initializer)
    own.update(name for node in graph.node for name in node.output)
    wanted = {name for node in graph.node for name in reads(node)}
    wanted.update(value.name for value in graph.output)
    return wanted - own


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors a node needs: its inputs, and what its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        graphs: Iterable[onnx.GraphProto] = attribute.graphs
        if attribute.type == onnx.AttributeProto.GRAPH:
            graphs = (attribute.g, *attribute.graphs)
        for graph in graphs:
            yield from outer_names(graph)


def running_order(needs: Sequence[Iterable[str]], makes: Sequence[Iterable[str]]) -> list[int]:
    """Positions of nodes so that makers come before readers, otherwise as near the given order as can be.

    Args:
        needs: per node, the names it reads.
        makes: per node, the names it writes; empty ones do not count.

    Returns:
        Every position but those of nodes on a cycle, or behind one. O(n log n) in nodes and edges.
    """
    maker = {name: index for index, names in enumerate(makes) for name in names if name}
    waits = [{maker[name] for name in names if name in maker} for names in needs]
    readers: list[list[int]] = [[] for _ in waits]
    for index, makers in enumerate(waits):
        for source in makers:
            readers[source].append(index)
    missing = [len(makers) for makers in waits]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return order


def sorted_nodes(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after those it reads from; an order that already is right is kept as it is.

    Nodes in a cycle, which no runtime accepts, come last in the order given.
    """
    listed = list(nodes)
    order = running_order([list(reads(node)) for node in listed], [node.output for node in listed])
    stuck = sorted(set(range(len(listed))).difference(order))
    return [listed[index] for index in order + stuck]


def distinct_names(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """The nodes' names, a number added to those that occur again: ONNX Runtime takes no name twice."""
    listed = [node.name for node in nodes]
    names, seen = Names(listed, first=2), set[str]()
    for index, name in enumerate(listed):
        if name and name in seen:
            listed[index] = names.fresh(name)
        seen.add(name)
    return listed
