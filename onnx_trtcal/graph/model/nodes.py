"""All nodes of an ONNX graph, and what NVIDIA's parser calls the layers made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

__all__ = ["bodies", "graphs_of", "layer_name", "nodes_of"]


def layer_name(node: onnx.NodeProto) -> str:
    """The name that NVIDIA's parser gives a node's layer."""
    return node.name or f"node_of_{node.output[0] if node.output else ''}"


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph and of the bodies in it."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes_of(body)


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies in it, at any depth."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs_of(body)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: of an If, Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
