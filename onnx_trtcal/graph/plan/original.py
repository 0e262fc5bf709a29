"""The original model's tensors, as the network that TensorRT parses has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.model.order import reads, sorted_nodes

if TYPE_CHECKING:
    import onnx

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Original", "read_original"]


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
