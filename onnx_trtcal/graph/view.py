"""Who makes and who reads each tensor of a graph, and what a single node is and reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.model.order import running_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx_graphsurgeon as gs

__all__ = [
    "Links",
    "captured",
    "is_random",
    "is_standard",
    "kind",
    "link",
    "numpy_type",
    "outer_tensors",
    "quantized_ops",
    "reads",
    "stored",
]


def is_standard(node: gs.Node) -> bool:
    """Whether a node is one of ONNX's own operators."""
    return ops.is_standard_domain(node.domain)


def kind(node: gs.Node) -> str:
    """The node's op type; with "domain:" before it when it is not one of ONNX's own operators."""
    return node.op if is_standard(node) else f"{node.domain}:{node.op}"


def quantized_ops(nodes: Iterable[gs.Node]) -> list[str]:
    """The op types that show that a graph is quantized already, sorted."""
    return sorted({kind(node) for node in nodes} & ops.QUANTIZED)


def is_random(node: gs.Node) -> bool:
    """Whether a node may give another result in every run, although it reads the same values."""
    if kind(node) in ops.RANDOM or (kind(node) == "Dropout" and len(node.inputs) > 2 and node.inputs[2].name):
        return True
    return any(is_random(inner) for body in node.subgraphs() for inner in body.nodes)


def reads(node: gs.Node) -> Iterator[str]:
    """Names of all tensors a node needs: its inputs, then what its subgraphs take from outside."""
    for tensor in node.inputs:
        if tensor.name:
            yield tensor.name
    yield from captured(node)


def captured(node: gs.Node) -> Iterator[str]:
    """Tensors, initializers aside, that a node's subgraphs (If, Loop, Scan) take from outside, by name."""
    from onnx_graphsurgeon import Constant

    yield from (tensor.name for tensor in outer_tensors(node) if not isinstance(tensor, Constant))


def outer_tensors(node: gs.Node) -> Iterator[gs.Tensor]:
    """Every tensor that a node's subgraphs read and do not hold themselves.

    An initializer of a subgraph counts, too: nothing in the graph tells it from one of the graphs around it.
    """
    for body in node.subgraphs():
        local = {t.name for t in body.inputs} | {t.name for inner in body.nodes for t in inner.outputs}
        local.add("")
        for inner in body.nodes:
            yield from (t for t in inner.inputs if t.name not in local)
            yield from (t for t in outer_tensors(inner) if t.name not in local)
        yield from (t for t in body.outputs if t.name not in local)


def numpy_type(tensor: gs.Tensor) -> np.dtype[np.generic] | None:
    """A tensor's element type; None where it is not known, or NumPy has no such type."""
    return None if tensor.dtype is None or isinstance(tensor.dtype, int) else np.dtype(tensor.dtype)


def stored(tensor: gs.Tensor) -> gs.Constant | np.ndarray | None:
    """A constant that holds a tensor's values, or the values where a Constant node holds them as numbers."""
    from onnx_graphsurgeon import Constant

    if isinstance(tensor, Constant):
        return tensor
    if len(tensor.inputs) != 1 or kind(tensor.inputs[0]) != "Constant":
        return None
    attributes = tensor.inputs[0].attrs
    tensor_held = attributes.get("value", attributes.get("sparse_value"))
    if isinstance(tensor_held, Constant):
        return tensor_held
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        for given in (name, f"{name}s"):
            if given in attributes:
                return np.array(attributes[given], dtype)
    return None


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
        """The number of the one node that reads a tensor; None when it is pinned, or has more or no readers."""
        readers = self.consumers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.pinned else None

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """What the graph itself says about a tensor's shape; nothing is computed to find out."""
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

    def rank(self, name: str) -> int | None:
        """A tensor's number of axes, where it is known."""
        shape = self._constant_shape(name) or self.shape(name)
        return None if shape is None else len(shape)

    def _constant_shape(self, name: str) -> tuple[int | str | None, ...] | None:
        if name not in self.constants:
            return None
        held = stored(self.tensors[name])
        return self.shape(name) if held is None else tuple(held.shape)


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
        if not is_random(node) and all(name in known for name in reads(node)):
            known.update(t.name for t in node.outputs if t.name)
    return frozenset(known)
