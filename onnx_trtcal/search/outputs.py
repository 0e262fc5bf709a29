"""Which tensors of a graph a search compares: its outputs, or what comes before a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.view import kind
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.prepared import Prepared

__all__ = ["DISCRETE", "before_softmax", "comparable_outputs", "compared_outputs"]

# What they give is chosen, counted or drawn: a slightly different input gives the same or something else.
DISCRETE = frozenset(
    {
        *("ArgMax", "ArgMin", "TopK", "Hardmax", "NonMaxSuppression", "NonZero", "Unique", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"),
        *("EfficientNMS_TRT", "BatchedNMS_TRT", "NMS_TRT", "BatchedNMSDynamic_TRT"),
    }
)

# What they make is not a tensor.
_HOLDERS = frozenset(
    {
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
        "Optional",
    }
)


def comparable_outputs(graph: ExportedGraph) -> tuple[str, ...]:
    """The graph's outputs, or what comes before a choice that has no distance.

    Behind a TopK or a NonMaxSuppression, shapes and rows change with the smallest error, so that nothing
    there can be compared value by value; the scores and boxes that go in can. So can the tensors that an output such as
    a sequence is made from.
    """
    chosen: set[str] = set()
    found: dict[str, None] = {}
    dependent = set(graph.inputs)
    for at, node in enumerate(graph.nodes):
        read = graph.reads(at)
        if not dependent.isdisjoint(read):
            dependent.update(node.output)
        if node.op_type in DISCRETE or not chosen.isdisjoint(read):
            found.update({name: None for name in read if name in dependent and name not in chosen})
            chosen.update(name for name in node.output if name)
    tensors = [name for name in graph.outputs if name not in graph.other_outputs]
    found.update({name: None for name in (*tensors, *_held(graph)) if name not in chosen})
    return tuple(name for name in found if name not in graph.inputs)


def compared_outputs(prepared: Prepared) -> tuple[str, ...]:
    """The comparable outputs of the graph that a model is calibrated as, see `comparable_outputs`."""
    outputs = tuple(tensor.name for tensor in prepared.folded.outputs)
    tensors = all(prepared.model.elem_types.get(name) for name in outputs)
    if tensors and not any(kind(node) in DISCRETE for node in prepared.folded.nodes):
        return outputs
    return comparable_outputs(ExportedGraph(prepared.folded, prepared.model))


def _held(graph: ExportedGraph) -> list[str]:
    """The tensors that the outputs that are not tensors are made from."""
    makers = {name: at for at, node in enumerate(graph.nodes) for name in node.output if name}
    pending, seen = sorted(graph.other_outputs), set(graph.other_outputs)
    found: list[str] = []
    while pending:
        at = makers.get(pending.pop())
        for name in () if at is None else graph.reads(at):
            if name in seen or name not in makers:
                continue
            seen.add(name)
            (pending if graph.nodes[makers[name]].op_type in _HOLDERS else found).append(name)
    return found


def before_softmax(
    graph: ExportedGraph, outputs: Sequence[str], shapes: Mapping[str, Sequence[int | str | None] | None]
) -> tuple[str, ...]:
    """The outputs, but for a classifier's probabilities what its Softmax reads.

    Of a hundred samples, one that changes its class would outweigh all others in the probabilities; what the Softmax
    reads tells a good threshold from a bad one on few samples. Where there are many distributions a sample, as over the
    pixels of an image, their number does that.

    Args:
        graph: the graph.
        outputs: some of its tensors.
        shapes: tensor -> its shape as far as it is known.
    """
    logits = {
        node.output[0]: node.input[0] for node in graph.nodes if node.op_type in ("Softmax", "LogSoftmax")
    }
    found: dict[str, None] = {}
    for name in outputs:
        classifies = name in logits and len(shapes.get(name) or ()) == 2 and logits[name] not in graph.inputs
        found[logits[name] if classifies else name] = None
    return tuple(found)
