"""Fused groups: the ops that TensorRT runs as one INT8 kernel.

    Conv | ConvTranspose | Gemm | MatMul      with constant weights
      └─ bias Add, BatchNormalization         constant per channel
           └─ residual Add                    with another tensor of the same shape
                └─ activation                 of ops.ACTIVATIONS, or decomposed into several nodes

A tensor that anything else reads, or that is an output of the graph, ends the group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.groups import decomposed
from onnx_trtcal.graph.view import Links, kind, link
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

__all__ = ["Group", "find_groups"]

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Group:
    """One kernel's worth of nodes; nodes are named by their first outputs.

    Attributes:
        anchor: the weighted node.
        op: its op type.
        nodes: all its nodes, in topological order.
        inner: tensors that vanish inside the kernel.
        output: the one tensor the kernel writes.
        residual: the tensor that the kernel's residual Add adds to the weighted result, if it has one.
    """

    anchor: str
    op: str
    nodes: tuple[str, ...]
    inner: tuple[str, ...]
    output: str
    residual: str | None


@dataclass
class _Chain:
    """A group while it grows."""

    anchor: int
    nodes: list[int]
    end: str
    inner: list[str] = field(default_factory=list)
    residual: str | None = None

    def take(self, nodes: list[int], end: str, inner: list[str]) -> None:
        self.nodes += nodes
        self.inner += [self.end, *inner]
        self.end = end


def find_groups(
    graph: gs.Graph, shapes: Mapping[str, Shape | None] | None = None, links: Links | None = None
) -> tuple[Group, ...]:
    """The groups of a graph, in topological order of their weighted nodes.

    Args:
        graph: the graph, which is not changed.
        shapes: shapes of tensors where they are better known than in the graph (Model.shapes).
        links: the graph's links, when the caller has them already.
    """
    links = links or link(graph)
    known = shapes or {}
    chains = [
        _start(links, at)
        for at, node in enumerate(links.nodes)
        if kind(node) in ops.ANCHORS and node.outputs and node.outputs[0].name
    ]
    _add_residuals(links, [chain for chain in chains if _weighted(links, chain.anchor)], known)
    for chain in chains:
        if _weighted(links, chain.anchor):
            _add_activation(links, chain)
    return tuple(_finished(links, chain) for chain in chains)


def _weighted(links: Links, at: int) -> bool:
    """Whether a node multiplies by constant weights; a product of two activations fuses nothing after it."""
    return bool(_constant_slots(links, links.nodes[at]))


def _constant_slots(links: Links, anchor: gs.Node) -> list[int]:
    """The inputs of a weighted node that hold constant weights."""
    slots = WEIGHTED[kind(anchor)].weight_inputs
    return [at for at, tensor in enumerate(anchor.inputs) if at in slots and tensor.name in links.constants]


def _start(links: Links, at: int) -> _Chain:
    chain = _Chain(at, [at], links.nodes[at].outputs[0].name)
    while _weighted(links, at):
        reader = links.only_reader(chain.end)
        if reader is None or not _per_channel(links, reader, chain.end, links.nodes[at]):
            break
        chain.take([reader], links.nodes[reader].outputs[0].name, [])
    return chain


def _per_channel(links: Links, at: int, tensor: str, anchor: gs.Node) -> bool:
    """Whether a node shifts the anchor's result by a constant bias, or normalizes it with constant statistics.

    TensorRT merges both into the weights (Layer Fusion Catalog, Convolution and Scale), so the tensor before
    them never exists in INT8. A single value is not a bias but the start of a function, as in clip(x + 3, 0, 6),
    whose result may be much smaller than x.
    """
    node = links.nodes[at]
    names = [t.name for t in node.inputs]
    if kind(node) == "BatchNormalization":
        training = node.attrs.get("training_mode", 0)
        return names[0] == tensor and not training and all(name in links.constants for name in names[1:])
    if kind(node) == "Add":
        axes = {axis for name in names if (axis := links.vector_axis(name)) is not None}
        rank = links.rank(tensor)
        return any(rank is None or rank >= -axis for axis in axes & _channel_axes(links, anchor))
    return False


def _channel_axes(links: Links, anchor: gs.Node) -> set[int]:
    """The axis of a weighted node's output channels, counted from the end; all it could be where that is open."""
    slot = _constant_slots(links, anchor)[-1]
    rank = links.rank(anchor.inputs[slot].name) or links.rank(anchor.outputs[0].name)
    return set(WEIGHTED[kind(anchor)].output_axes(slot, rank))


def _add_residuals(links: Links, chains: list[_Chain], shapes: Mapping[str, Shape | None]) -> None:
    """Gives every residual Add to one of the kernels whose result it adds.

    Where both inputs come from kernels, the one at the end of the longer path takes the Add, the second input
    when the paths are equally long: in a residual block that is the main branch, and the projection shortcut
    is the residual. It is the rule of NVIDIA ModelOpt (modelopt/onnx/quantization/graph_utils.py,
    build_non_residual_input_map).
    """
    claims: dict[int, list[tuple[int, int, _Chain]]] = {}
    for chain in chains:
        reader = links.only_reader(chain.end)
        if reader is None or kind(links.nodes[reader]) not in ("Add", "Sum"):
            continue
        names = [t.name for t in links.nodes[reader].inputs]
        if len(names) != 2 or names[0] == names[1] or any(name in links.constants for name in names):
            continue
        a, b = (shapes.get(name) or links.shape(name) for name in names)
        if _may_be_equal(a, b):
            depth = links.depth[links.producer[chain.end]]
            claims.setdefault(reader, []).append((depth, names.index(chain.end), chain))
    for reader, claimants in claims.items():
        _, position, chain = max(claimants, key=lambda claim: claim[:2])
        node = links.nodes[reader]
        chain.residual = node.inputs[1 - position].name
        chain.take([reader], node.outputs[0].name, [])


def _may_be_equal(a: Shape | None, b: Shape | None) -> bool:
    """False when two shapes surely differ, so that adding them broadcasts one."""
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(_axis_may_be_equal(x, y) for x, y in zip(a, b, strict=True))


def _axis_may_be_equal(x: int | str | None, y: int | str | None) -> bool:
    if isinstance(x, int) and isinstance(y, int):
        return x == y
    # A symbolic axis beside a 1 is what broadcasting looks like.
    return x is None or y is None or 1 not in (x, y)


def _add_activation(links: Links, chain: _Chain) -> None:
    reader = links.only_reader(chain.end)
    if reader is None:
        region = decomposed.activation(links, chain.end)
        if region is not None:
            chain.take(list(region.nodes), region.output, list(region.inner))
        return
    node = links.nodes[reader]
    rule = ops.ACTIVATIONS.get(kind(node))
    if rule is None or not rule.fuses or node.inputs[0].name != chain.end:
        return
    arguments = [node.inputs[i].name for i in rule.constant if i < len(node.inputs)]
    if all(name in links.constants for name in arguments if name):
        chain.take([reader], node.outputs[0].name, [])


def _finished(links: Links, chain: _Chain) -> Group:
    node = links.nodes[chain.anchor]
    return Group(
        anchor=node.outputs[0].name,
        op=node.op,
        nodes=tuple(links.nodes[at].outputs[0].name for at in sorted(chain.nodes)),
        inner=tuple(chain.inner),
        output=chain.end,
        residual=chain.residual,
    )
