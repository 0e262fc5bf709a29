"""Which tensors of a graph a search compares: its outputs, or what comes before a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.search.subgraph import ExportedGraph

__all__ = ["comparable_outputs"]

# What they give is chosen, counted or drawn: a slightly different input gives the same or something else.
_DISCRETE = frozenset(
    {
        *("ArgMax", "ArgMin", "TopK", "Hardmax", "NonMaxSuppression", "NonZero", "Unique", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"),
        *("EfficientNMS_TRT", "BatchedNMS_TRT", "NMS_TRT", "BatchedNMSDynamic_TRT"),
    }
)


def comparable_outputs(graph: ExportedGraph) -> tuple[str, ...]:
    """The graph's outputs, or what comes before a choice that has no distance.

    Behind a TopK or a NonMaxSuppression, shapes and rows change with the smallest error, so that nothing
    there can be compared value by value; the scores and boxes that go in can.
    """
    chosen: set[str] = set()
    found: dict[str, None] = {}
    dependent = set(graph.inputs)
    for at, node in enumerate(graph.nodes):
        read = graph.reads(at)
        if not dependent.isdisjoint(read):
            dependent.update(node.output)
        if node.op_type in _DISCRETE or not chosen.isdisjoint(read):
            found.update({name: None for name in read if name in dependent and name not in chosen})
            chosen.update(name for name in node.output if name)
    found.update({name: None for name in graph.outputs if name not in chosen})
    return tuple(name for name in found if name not in graph.inputs)
