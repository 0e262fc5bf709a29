"""The values of tensors that depend on no graph input.

A tensor is constant when it is stored, or when a deterministic node makes it of constants alone. Whoever needs
such a value asks `Constants`: folding, fusing, planning, and Q/DQ. `run_nodes` computes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnx_trtcal.graph.model.exporter import export_node
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.run_nodes import compute
from onnx_trtcal.graph.view import is_random, kind, outer_tensors, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx

    from onnx_trtcal.graph.model.load import Model

__all__ = ["Constants", "constant_amax", "largest_magnitude"]

# Computed values are kept up to here altogether, the latest ones: a model may compute all its weights.
_KEPT_BYTES = 256 << 20


class Constants:
    """The constants of a graph, computed when asked for.

    The graph may be rewritten meanwhile, as long as no constant gets another value.

    Args:
        graph: the graph, or the main graph that a tensor asked for belongs to.
        functions: the model's own functions, which nodes may call.
        opaque: kinds of nodes that are not looked through: what they make counts as computed.
    """

    def __init__(
        self,
        graph: gs.Graph,
        functions: Iterable[onnx.FunctionProto] = (),
        opaque: frozenset[str] = frozenset(),
    ) -> None:
        self._graph = graph
        self._functions = tuple(functions)
        self._opaque = opaque
        # By identity, because names may occur again in subgraphs; the tensor is kept so that its id stays its.
        self._known: dict[int, tuple[gs.Tensor, bool]] = {}
        self._values: dict[int, tuple[gs.Tensor, np.ndarray]] = {}
        self._kept_bytes = 0
        self._shapes: dict[int, tuple[gs.Tensor, tuple[int, ...] | None]] = {}

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor depends on constants alone; nothing is read or computed to find out."""
        pending = [tensor]
        asked: set[int] = set()
        while pending:
            current = pending[-1]
            if id(current) in self._known:
                pending.pop()
                continue
            asked.add(id(current))
            needs = self._made_of(current)
            unknown = [each for each in needs or () if id(each) not in self._known and id(each) not in asked]
            if unknown:
                pending += unknown
                continue
            # What is asked for and still not known here lies on a cycle, and is not constant.
            answer = needs is not None and all(self._known.get(id(each), (each, False))[1] for each in needs)
            self._known[id(current)] = (current, answer)
            pending.pop()
        return self._known[id(tensor)][1]

    def value(self, tensor: gs.Tensor) -> np.ndarray | None:
        """A constant's value, which must not be written to; None for any other tensor.

        None as well where `run_nodes` has no value: the nodes cannot be run (operators of a custom library), or
        they would make more than its limits allow.
        """
        held = self._at_hand(tensor)
        return self.values([tensor])[0] if held is None else held

    def values(self, tensors: Sequence[gs.Tensor]) -> list[np.ndarray | None]:
        """As `value`, for several tensors at once, whose common nodes then run once."""
        # Held here, because keeping what is computed may drop what was kept before.
        found = {id(each): self._at_hand(each) for each in tensors}
        unknown = {
            id(each): each for each in tensors if found[id(each)] is None and self._is_computable(each)
        }
        computed = self._compute(list(unknown.values())) if unknown else []
        if computed is None and len(unknown) > 1:
            return [self.value(each) for each in tensors]
        found.update(zip(unknown, computed or (), strict=False))
        for key, tensor in unknown.items():
            self._keep(tensor, found[key])
        return [found[id(each)] for each in tensors]

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        """The shape of `value`, None where that is None; no stored value is read for it."""
        held = stored(tensor)
        if isinstance(held, gs.Constant):
            return tuple(held.shape)
        if held is not None:
            return held.shape
        if id(tensor) not in self._shapes:
            self.value(tensor)
        return self._shapes.get(id(tensor), (tensor, None))[1]

    def scalar(self, tensor: gs.Tensor) -> float | None:
        """The value of a constant of one element; None for other tensors. No larger one is read."""
        shape = self.shape(tensor)
        if shape is None or math.prod(shape) != 1:
            return None
        value = self.value(tensor)
        return None if value is None else float(value.reshape(-1)[0])

    def _made_of(self, tensor: gs.Tensor) -> list[gs.Tensor] | None:
        """What decides whether a tensor is constant; None for one that is not, whatever its node reads."""
        if isinstance(tensor, gs.Constant):
            return []
        node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
        if node is None or kind(node) in self._opaque or is_random(node):
            return None
        return _needs(node)

    def _at_hand(self, tensor: gs.Tensor) -> np.ndarray | None:
        """A value that is stored, or was computed and kept."""
        held = stored(tensor)
        if isinstance(held, gs.Constant):
            return np.asarray(held.values)
        if held is not None:
            return held
        return self._values[id(tensor)][1] if id(tensor) in self._values else None

    def _is_computable(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is constant, and was not computed in vain before."""
        known = self._shapes.get(id(tensor))
        return self.is_constant(tensor) and (known is None or known[1] is not None)

    def _keep(self, tensor: gs.Tensor, values: np.ndarray | None) -> None:
        self._shapes[id(tensor)] = (tensor, None if values is None else values.shape)
        if values is None:
            return
        values.flags.writeable = False
        self._values[id(tensor)] = (tensor, values)
        self._kept_bytes += values.nbytes
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= self._values.pop(next(iter(self._values)))[1].nbytes

    def _compute(self, wanted: Sequence[gs.Tensor]) -> list[np.ndarray] | None:
        """Runs the nodes that some constants need; None when they cannot be run, or would make too much."""
        nodes, sources = self._needed(wanted)
        opsets = {entry.domain: entry.version for entry in self._graph.import_domains or ()}
        return compute(
            nodes,
            sources,
            [tensor.name for tensor in wanted],
            {**opsets, "": self._graph.opset},
            self._functions,
        )

    def _needed(self, wanted: Sequence[gs.Tensor]) -> tuple[list[gs.Node], dict[str, np.ndarray]]:
        """The nodes to run, each after those it reads from, and the values that they start from, by name."""
        order: list[gs.Node] = []
        sources: dict[str, np.ndarray] = {}
        done: set[int] = set()
        pending = [(tensor.inputs[0], False) for tensor in reversed(wanted)]
        while pending:
            node, ready = pending.pop()
            if ready:
                order.append(node)
                continue
            if id(node) in done:
                continue
            done.add(id(node))
            pending.append((node, True))
            for tensor in _needs(node):
                value = sources.get(tensor.name)
                value = self._at_hand(tensor) if value is None else value
                if value is None:
                    pending.append((tensor.inputs[0], False))
                else:
                    sources[tensor.name] = value
        return order, sources


def largest_magnitude(values: np.ndarray) -> float:
    """The largest finite magnitude; 0.0 where there is none (masks hold -inf, which is not a range to cover)."""
    if values.size == 0:
        return 0.0
    largest = max(abs(float(values.max())), abs(float(values.min())))
    if np.isfinite(largest):
        return largest
    finite = values[np.isfinite(values)]
    return largest_magnitude(finite)


def constant_amax(model: Model, wanted: Sequence[str]) -> dict[str, float]:
    """The largest magnitude of each of the tensors of a model's main graph.

    A tensor that is not constant, or whose value cannot be had (see `Constants.value`), is left out.
    """
    if not wanted:
        return {}
    graph = import_graph(model)
    tensors = graph.tensors()
    known = [name for name in wanted if name in tensors]
    constants = Constants(graph, model.proto.functions)
    computed = [name for name in known if stored(tensors[name]) is None]
    values = dict(zip(computed, constants.values([tensors[name] for name in computed]), strict=True))
    found = {}
    for name in known:
        # Those that are stored one at a time, because weights may be large.
        value = values[name] if name in values else constants.value(tensors[name])
        if value is not None:
            found[name] = largest_magnitude(value)
    return found


def _needs(node: gs.Node) -> list[gs.Tensor]:
    """The tensors that a node reads, and those that its subgraphs take from outside."""
    outer = list(outer_tensors(node))
    if outer:
        # The node's own form tells the initializers of its subgraphs from those around them.
        names = set(reads(export_node(node)))
        outer = [tensor for tensor in outer if tensor.name in names]
    return [*(tensor for tensor in node.inputs if tensor.name), *outer]
