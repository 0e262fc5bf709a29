"""What of a model can have a scale: its names, what only says how large or where, and what subgraphs hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.model.order import reads, sorted_nodes
from onnx_trtcal.graph.view import Links, kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Original", "count_float_tensors", "read_original", "shape_tensors"]


@dataclass(frozen=True)
class Original:
    """The names in a model's main graph.

    Attributes:
        names: graph inputs, then what the nodes make, topologically sorted, then outputs no node makes.
        stored: what Constant nodes make, which no layer of TensorRT does.
        constants: what depends on no graph input and on no random generator: stored, initializers, and what
            is computed from those.
    """

    names: tuple[str, ...]
    stored: frozenset[str]
    constants: frozenset[str]


def read_original(model: Model) -> Original:
    """Reads the names of a model. O(nodes + edges)."""
    graph = model.proto.graph
    names = dict.fromkeys(spec.name for spec in model.inputs)
    stored: set[str] = set()
    constants = {tensor.name for tensor in graph.initializer}
    constants.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in sorted_nodes(graph.node):
        made = [name for name in node.output if name]
        names.update(dict.fromkeys(made))
        if _kind(node) == "Constant":
            stored.update(made)
        if _kind(node) not in ops.RANDOM and all(name in constants for name in reads(node)):
            constants.update(made)
    names.update(dict.fromkeys(model.outputs))
    return Original(tuple(names), frozenset(stored), frozenset(constants))


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if ops.is_standard_domain(node.domain) else f"{node.domain}:{node.op_type}"


def shape_tensors(links: Links) -> frozenset[str]:
    """Tensors made by nodes, of any type, that end in shape positions and nowhere else.

    A tensor counts when an op makes it that computes shapes (ops.SHAPE_CARRIERS, ops.SHAPE_SOURCES), it is
    read, is pinned by nothing, and every reader either takes it as a shape (ops.SHAPE_INPUTS) or computes
    shapes itself: an op of ops.SHAPE_CARRIERS all of whose outputs count. What a convolution makes stays an
    activation, even where its maximum alone decides a size.
    TensorRT computes such tensors on the host and lists them in no calibration cache, whatever their type: a
    Resize to half the size of its input multiplies float sizes by 0.5.
    """
    found: set[str] = set()
    for at in range(len(links.nodes) - 1, -1, -1):
        if kind(links.nodes[at]) in ops.SHAPE_CARRIERS | ops.SHAPE_SOURCES:
            found.update(
                t.name for t in links.nodes[at].outputs if t.name and _only_shapes(links, t.name, found)
            )
    return frozenset(found)


def _only_shapes(links: Links, name: str, found: set[str]) -> bool:
    readers = links.consumers.get(name, ())
    if not readers or name in links.pinned:
        return False
    return all(_reads_shape(links.nodes[at], name, found) for at in readers)


def _reads_shape(node: gs.Node, name: str, found: set[str]) -> bool:
    positions = ops.SHAPE_INPUTS.get(kind(node), frozenset())
    if all(i in positions for i, t in enumerate(node.inputs) if t.name == name):
        return True
    return kind(node) in ops.SHAPE_CARRIERS and all(t.name in found for t in node.outputs if t.name)


def count_float_tensors(graph: gs.Graph, elem_types: Mapping[str, int]) -> int:
    """How many float tensors the nodes inside all subgraphs make, nested ones included.

    Types that the model does not declare are followed through the ops: Cast says its own, comparisons and
    index ops give none, others pass on the type of their first input of known type.

    Args:
        graph: the main graph.
        elem_types: ONNX element types of the main graph's tensors, which subgraphs may read.
    """
    return sum(_count(body, dict(elem_types)) for node in graph.nodes for body in node.subgraphs())


def _count(body: gs.Graph, types: dict[str, int]) -> int:
    for tensor in (
        *body.inputs,
        *body.outputs,
        *(t for node in body.nodes for t in (*node.inputs, *node.outputs)),
    ):
        declared = _declared(tensor)
        if declared:
            types.setdefault(tensor.name, declared)
    total = 0
    for node in body.nodes:
        made = [_made_type(node, types)] * len(node.outputs)
        for inner in node.subgraphs():
            inner_types = dict(types)
            total += _count(inner, inner_types)
            # The last outputs of a body are the node's; a Loop's body has its condition before them.
            ends = list(inner.outputs)[len(inner.outputs) - len(node.outputs) :]
            made = [inner_types.get(end.name, ops.FLOAT) for end in ends]
        for tensor, elem_type in zip(node.outputs, made, strict=False):
            if tensor.name:
                types.setdefault(tensor.name, elem_type)
                total += kind(node) != "Constant" and types[tensor.name] in ops.FLOATS
    return total


def _declared(tensor: gs.Tensor) -> int:
    dtype = tensor.dtype
    if dtype is None:
        return 0
    return dtype if isinstance(dtype, int) else _onnx_type(dtype)


def _onnx_type(dtype: object) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))  # type: ignore[call-overload]


def _made_type(node: gs.Node, types: Mapping[str, int]) -> int:
    if kind(node) in ops.INTEGER_MAKERS:
        return ops.INT64
    if "to" in node.attrs:
        to = node.attrs["to"]
        return to if isinstance(to, int) else _onnx_type(to)
    if kind(node) == "Constant":
        value = next(iter(node.attrs.values()), None)
        return _declared(value) if isinstance(value, gs.Tensor) else ops.FLOAT
    return next((types[t.name] for t in node.inputs if types.get(t.name)), ops.FLOAT)
