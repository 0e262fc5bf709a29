"""Which tensor takes whose scale: the rules, and what follows from scales that are given.

    MaxPool(x), Reshape(x), Transpose(x) …      takes the scale of x          (`TIED` ops)
    a tensor inside a fused group               takes the scale of its output

A calibration follows these rules from every tensor to the one that is observed for it (`plan.owners`). A cache
that is read is completed by the same rules from the entries it has, and by some more, in both directions: it
may be TensorRT's own, which names other tensors than a plan would observe, or that of another version of the
model. So a known scale also goes upwards through an op that keeps it, through Cast both ways, up to the
branches of a Concat, whose Q moves to them, and down through ops that only make values smaller. None of these
makes a wrong scale of a right one: they cover the values, though a calibration, which can measure such a
tensor, would give it a tighter scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.view import Links, kind, link, numpy_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group

__all__ = ["ScaleRules", "propagate_scales", "with_followers"]


@dataclass(frozen=True)
class ScaleRules:
    """Whose scale each tensor of a graph takes, one step at a time.

    Attributes:
        links: the graph.
        constants: the values of its constants.
        inner: tensor that vanishes inside a fused group -> the group's output.
    """

    links: Links
    constants: Constants
    inner: Mapping[str, str]

    def step(self, name: str) -> tuple[str, str] | None:
        """The tensor whose scale a tensor takes, and why: "group", "tie" or "pool"; None for its own scale."""
        return (self.inner[name], "group") if name in self.inner else self.tie(name)

    def tie(self, name: str) -> tuple[str, str] | None:
        """The tensor whose scale an op passes on to a tensor, and why.

        "tie": the same values in another shape or order, hence the same histogram. "pool": a max pooling's
        output, which TensorRT gives its input's scale. None for a tensor with a scale of its own, and for any
        but the first output of a node (the mask of a Dropout, the indices of a MaxPool).
        """
        node = self.links.maker(name)
        if node is None or not node.inputs or node.outputs[0].name != name:
            return None
        if kind(node) in ops.MOVES and not self._trains(node):
            return node.inputs[0].name, "tie"
        if kind(node) in ops.COPIES:
            return node.inputs[0].name, "pool"
        return None

    def _trains(self, node: gs.Node) -> bool:
        """Whether a Dropout may drop values, which its third input says since opset 12."""
        if kind(node) != "Dropout" or len(node.inputs) < 3 or not node.inputs[2].name:
            return False
        flag = self.constants.scalar(node.inputs[2])
        return flag is None or bool(flag)


def propagate_scales(
    graph: gs.Graph, groups: Sequence[Group], found: Mapping[str, float]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """All scales that follow from some of them; a scale that was found stays.

    Args:
        graph: the folded graph, which is not changed.
        groups: what TensorRT fuses in it, from `find_groups`.
        found: tensor -> scale.

    Returns:
        The scales in graph order, and the float tensors that have none (constants need none).
    """
    inner = {name: group.output for group in groups for name in group.inner}
    propagation = _Propagation(ScaleRules(link(graph), Constants(graph), inner), dict(found))
    propagation.run()
    scales, links = propagation.scales, propagation.rules.links
    floating = {name for name, tensor in graph.tensors().items() if _is_float(tensor)}
    names = tuple(dict.fromkeys((*links.inputs, *links.producer)))
    floats = {name for name in names if name not in links.constants and name in floating}
    return (
        {name: scales[name] for name in names if name in found or (name in scales and name in floats)},
        tuple(name for name in names if name in floats and name not in scales),
    )


def with_followers(
    graph: gs.Graph, groups: Sequence[Group], found: Mapping[str, float], marked: AbstractSet[str]
) -> tuple[str, ...]:
    """Some tensors and those that `propagate_scales` gives the scale of one of them, in graph order.

    Args:
        graph: the folded graph, which is not changed.
        groups: what TensorRT fuses in it.
        found: tensor -> scale.
        marked: some of these tensors.
    """
    if not marked:
        return ()
    # NaN takes the very ways that the scales take.
    scales = {name: math.nan if name in marked else scale for name, scale in found.items()}
    follows, _ = propagate_scales(graph, groups, scales)
    reached = [name for name, scale in follows.items() if math.isnan(scale)]
    return (*reached, *sorted(marked - follows.keys()))


@dataclass
class _Propagation:
    """Scales that grow, downwards and upwards in turn, until nothing follows any more."""

    rules: ScaleRules
    scales: dict[str, float]

    def run(self) -> None:
        nodes = [node for node in self.rules.links.nodes if node.outputs]
        before = -1
        while before != len(self.scales):
            before = len(self.scales)
            for node in nodes:
                for source in self._sources(node, down=True):
                    self._give(source, node.outputs[0].name)
            for node in reversed(nodes):
                for source in self._sources(node, down=False):
                    self._give(node.outputs[0].name, source)
            for name, output in self.rules.inner.items():
                self._give(output, name)

    def _give(self, source: str, name: str) -> None:
        if source in self.scales:
            self.scales.setdefault(name, self.scales[source])

    def _sources(self, node: gs.Node, *, down: bool) -> Iterator[str]:
        """The tensors that a node's first output takes its scale from, or gives it to."""
        tie = self.rules.tie(node.outputs[0].name)
        if tie is not None:
            names = [tie[0]]
        elif kind(node) == "Cast" or (down and kind(node) in ops.SHRINKS):
            names = [node.inputs[0].name]
        elif kind(node) == "Concat" and not down:
            names = [tensor.name for tensor in node.inputs]
        else:
            names = []
        yield from (name for name in names if down or name not in self.rules.links.constants)


def _is_float(tensor: gs.Tensor) -> bool:
    dtype = numpy_type(tensor)
    return dtype is not None and dtype.kind == "f"
