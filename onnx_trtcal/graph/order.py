"""Nodes in an order in which they can run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import onnx

__all__ = ["distinct_names", "outer_names", "reads", "sorted_nodes"]


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


def sorted_nodes(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after those it reads from; an order that already is right is kept as it is.

    Nodes in a cycle, which no runtime accepts, come last in the order given.
    """
    listed = list(nodes)
    producer = {name: index for index, node in enumerate(listed) for name in node.output if name}
    waits = [{producer[name] for name in reads(node) if name in producer} for node in listed]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(waits):
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [index for index, sources in enumerate(waits) if not sources]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    stuck = sorted(set(range(len(listed))) - set(order))
    return [listed[index] for index in order + stuck]


def distinct_names(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """The nodes' names, a number added to those that occur again: ONNX Runtime takes no name twice."""
    listed = [node.name for node in nodes]
    taken, seen = set(listed), set[str]()
    for index, name in enumerate(listed):
        number = 2
        while name and listed[index] in seen:
            candidate = f"{name}_{number}"
            number += 1
            if candidate not in taken:
                listed[index] = candidate
        seen.add(listed[index])
        taken.add(listed[index])
    return listed
