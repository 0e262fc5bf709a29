"""Raises a graph to the opset that Q/DQ needs: 13 for scales per channel, 19 for float16.

Most operators changed between two opsets by taking more element types or by a new attribute whose default is
the old behaviour: such a node is right as it stands. The others are rewritten, in place, so that every tensor
keeps its name and nothing else in the model is touched: `opset_attributes` where the operator is still the
same, `opset_rewrites` where it means something else now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import defs

from onnx_trtcal.graph.view import is_standard
from onnx_trtcal.qdq.write.opset_attributes import cannot_raise, convert_attributes
from onnx_trtcal.qdq.write.opset_rewrites import rewrite_resize, rewrite_softmax

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["raise_opset"]

# Broadcasting was an attribute before opset 7: what such a node computes depends on more than its inputs.
_OLDEST = 7


def raise_opset(graph: gs.Graph, target: int) -> None:
    """Raises a graph, including its subgraphs, to an opset; does nothing when it is there already or beyond.

    Args:
        graph: changed in place.
        target: the opset.

    Raises:
        ModelError: an operator cannot be converted without a change of what it computes.
    """
    if graph.opset >= target:
        return
    if graph.opset < _OLDEST:
        raise cannot_raise(
            f"opset {graph.opset} is older than {_OLDEST}, the first with today's broadcasting", target
        )
    for part in (graph, *graph.subgraphs(recursive=True)):
        for node in list(part.nodes):
            if is_standard(node):
                _raise_node(part, node, graph.opset, target)
    parts = (graph, *graph.subgraphs(recursive=True))
    for part in parts:
        part.opset = target
        for node in part.nodes:
            # Export writes an imported body as it was imported, even if it has changed; a copy counts as new.
            bodies = {name: body for name, body in node.attrs.items() if any(body is each for each in parts)}
            node.attrs.update({name: _copy(body) for name, body in bodies.items()})


def _raise_node(graph: gs.Graph, node: gs.Node, source: int, target: int) -> None:
    """Lets a node compute in the target opset what it computes in the source opset."""
    if not defs.has(node.op):
        return  # a TensorRT plugin in ONNX's own domain: it has no versions
    try:
        old = defs.get_schema(node.op, source)
    except defs.SchemaError as error:
        raise cannot_raise(f"opset {source} has no such operator", target, node) from error
    if node.op in ("Upsample", "Resize") and old.since_version <= 10:
        rewrite_resize(node)
        return
    if node.op == "Scatter":
        node.op = "ScatterElements"
        return
    new = defs.get_schema(node.op, target)
    if new.since_version == old.since_version:
        return
    if new.deprecated:
        raise cannot_raise("the operator was removed from ONNX", target, node)
    if node.op in ("Softmax", "LogSoftmax", "Hardmax") and old.since_version < 13 <= new.since_version:
        rewrite_softmax(graph, node)
        return
    convert_attributes(node, old, new, target)
    if node.op == "Split" and new.since_version >= 18 > old.since_version and len(node.inputs) < 2:
        node.attrs["num_outputs"] = len(node.outputs)


def _copy(graph: gs.Graph) -> gs.Graph:
    import onnx_graphsurgeon as gs

    return gs.Graph(
        nodes=graph.nodes,
        inputs=graph.inputs,
        outputs=graph.outputs,
        name=graph.name,
        doc_string=graph.doc_string,
        opset=graph.opset,
    )
