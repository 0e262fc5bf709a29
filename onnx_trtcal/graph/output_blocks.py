"""What the graph tells about the blocks of a tensor: channels that are made apart from others and joined at the end.

A detector's output may hold boxes in pixels beside scores below 1: what is true of one says nothing of the other. The
blocks are the branches of the Concat along the channel axis. It is found by walking back from the tensor through ops
that only move values, pointwise ops, and Concats along other axes, such as those that join the levels of a pyramid.
The channel axis is the one that the output channels of the layers before it become.

Branches that are computed from the very same tensors are one block, as the two corners of a box that come from its
centre and its size; so is a run of branches of one channel each. Class numbers among them are a block of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.channel_axes import DEEPEST, DISTRIBUTIONS, PER_VALUE, ChannelAxes
from onnx_trtcal.graph.model.computed_shapes import computed_shapes
from onnx_trtcal.graph.ops import FLOATS, MOVES
from onnx_trtcal.graph.origins import Origins
from onnx_trtcal.graph.view import kind, link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.axis_sources import Dims
    from onnx_trtcal.graph.model.load import Model

__all__ = ["OutputBlocks", "output_blocks"]


@dataclass(frozen=True)
class OutputBlocks:
    """What the graph says about the channels of a tensor.

    Attributes:
        axis: the channel axis, the batch axis counted; None where the graph does not say.
        bounds: positions along it at which another block begins, 0 left out; empty for one block.
        whole: the channels are one distribution, as behind a Softmax: one block whatever their magnitudes.
    """

    axis: int | None = None
    bounds: tuple[int, ...] = ()
    whole: bool = False


def output_blocks(model: Model, graph: gs.Graph, tensors: Iterable[str]) -> dict[str, OutputBlocks]:
    """The blocks of some tensors, as far as the graph tells.

    Args:
        model: a float model.
        graph: its graph, or one that was made from it, as by folding; not changed.
        tensors: the graph's outputs, or any others.
    """
    shapes = computed_shapes(model)
    links = link(graph)

    def shape_of(tensor: str) -> Dims | None:
        found = shapes.get(tensor)
        return links.shape(tensor) if found is None else found

    walk = _Walk(ChannelAxes(graph, shape_of), model.elem_types)
    return {name: walk.blocks(name) for name in tensors}


class _Walk:
    """Answers for one graph, each given once."""

    def __init__(self, axes: ChannelAxes, elem_types: Mapping[str, int]) -> None:
        self._axes = axes
        self._elem_types = elem_types
        self._origins = Origins(axes.links, axes.constants)
        self._labels: dict[tuple[str, int, bool], np.ndarray | None] = {}
        self._next = 0
        self._distributions: set[int] = set()

    def blocks(self, tensor: str) -> OutputBlocks:
        """What the graph says about a tensor."""
        shape = self._axes.shape(tensor) or ()
        answers = [self._axes.is_channel(tensor, axis) for axis in range(len(shape))]
        sure = [axis for axis, answer in enumerate(answers) if answer]
        # Without a layer that tells, an axis along which branches are joined; the batch is never one.
        maybe = [axis for axis, answer in enumerate(answers) if answer is None and axis]
        labels = {axis: self._label(tensor, axis, 0, joined=False) for axis in (*sure, *maybe)}
        bounds = {axis: _changes(found) for axis, found in labels.items()}
        sizes = {axis: self._axes.size(tensor, axis) or 0 for axis in labels}
        candidates = [axis for axis in sure if bounds[axis]] or sure
        if candidates:
            axis = max(candidates, key=sizes.__getitem__)
        else:
            candidates = [axis for axis in maybe if bounds[axis]]
            if not candidates:
                return OutputBlocks()
            axis = min(candidates, key=sizes.__getitem__)
        found = labels[axis]
        whole = found is not None and self._distributions.issuperset(found.tolist())
        return OutputBlocks(axis, bounds[axis], whole)

    def _label(self, tensor: str, axis: int, depth: int, *, joined: bool) -> np.ndarray | None:
        """A number for every position along an axis, the same within a block; None where the length is not known.

        Args:
            tensor: name of the tensor.
            axis: of the tensor.
            depth: how many nodes lie between it and where the walk began.
            joined: whether it is a branch of a Concat along the axis already: what is behind a pointwise op is then
                one block, however it came about.
        """
        key = (tensor, axis, joined)
        if key not in self._labels:
            self._labels[key] = self._new(self._axes.size(tensor, axis))
            node = self._axes.links.maker(tensor)
            if node is not None and depth < DEEPEST:
                found = self._find(node, tensor, axis, depth + 1, joined=joined)
                self._labels[key] = self._labels[key] if found is None else found
        return self._labels[key]

    def _find(self, node: gs.Node, tensor: str, axis: int, depth: int, *, joined: bool) -> np.ndarray | None:
        """The labels that come from what a node reads; None where they begin with it."""
        op = kind(node)
        if op == "Concat":
            along = node.attrs.get("axis", 0) % max(len(self._axes.shape(tensor) or ()), 1)
            return self._concat(node, axis, depth, joined=joined or axis == along, along=axis == along)
        if op in DISTRIBUTIONS:
            return self._distribution(node, tensor, axis, depth, joined=joined)
        if op in PER_VALUE:
            if joined:
                return None
            operands = self._axes.operands(node, tensor, axis)
            found = [self._label(*each, depth, joined=False) for each in operands]
            # A sum of branches and of something that has none is not made of branches.
            return self._common(found) if len({_changes(each) for each in found}) == 1 else None
        moved = self._axes.moved(node, tensor, axis)
        if moved is None or moved.inside:
            return None
        source = node.inputs[0].name
        read = [self._label(source, each, depth, joined=joined) for each in moved.axes]
        labels = [each for each in read if each is not None]
        if not labels or len(labels) < len(read):
            return None
        return _nested(labels) if moved.picked is None else labels[0][moved.picked]

    def _concat(
        self, node: gs.Node, axis: int, depth: int, *, joined: bool, along: bool
    ) -> np.ndarray | None:
        constants = self._axes.links.constants
        names = [t.name for t in node.inputs if along or t.name not in constants]
        found = [self._label(name, axis, depth, joined=joined) for name in names]
        if not along:
            return self._common(found)
        labels: list[np.ndarray] = []
        for at, each in enumerate(found):
            if each is None:
                return None
            same = at and (
                (labels[-1].size == each.size == 1 and not self._is_number(names[at - 1 : at + 1]))
                or self._origins.of(names[at]) == self._origins.of(names[at - 1]) != frozenset()
            )
            labels.append(np.full_like(each, labels[-1][-1]) if same else each)
        return np.concatenate(labels)

    def _is_number(self, names: Iterable[str]) -> bool:
        """Whether one of some tensors was an integer before it became a float, as a class's number."""
        for name in names:
            node = self._axes.links.maker(name)
            while node is not None and (kind(node) in MOVES or kind(node) == "Cast"):
                known = self._elem_types.get(node.inputs[0].name, 0)
                if kind(node) == "Cast" and known and known not in FLOATS:
                    return True
                node = self._axes.links.maker(node.inputs[0].name)
        return False

    def _distribution(
        self, node: gs.Node, tensor: str, axis: int, depth: int, *, joined: bool
    ) -> np.ndarray | None:
        if axis != self._axes.distribution_axis(node, tensor):
            return None if joined else self._label(node.inputs[0].name, axis, depth, joined=False)
        labels = self._new(self._axes.size(tensor, axis))
        if labels is not None:
            self._distributions.update(labels.tolist())
        return labels

    def _common(self, found: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """Labels that change wherever one of several does; None where they cannot be laid over one another."""
        labels = [each for each in found if each is not None]
        if len(labels) < 2 or len({each.size for each in labels}) > 1:
            return labels[0] if len(labels) == 1 else None
        changed = np.zeros(labels[0].size, np.int64)
        for each in labels:
            changed[list(_changes(each))] = 1
        made = self._next + 1 + np.cumsum(changed)
        self._next = int(made[-1])
        if all(self._distributions.issuperset(each.tolist()) for each in labels):
            self._distributions.update(made.tolist())
        return made

    def _new(self, size: int | None) -> np.ndarray | None:
        """Labels of a block of its own."""
        self._next += 1
        return np.full(size, self._next, np.int64) if size else None


def _changes(labels: np.ndarray | None) -> tuple[int, ...]:
    if labels is None:
        return ()
    return tuple(int(at) + 1 for at in np.flatnonzero(labels[1:] != labels[:-1]))


def _nested(labels: Sequence[np.ndarray]) -> np.ndarray:
    """The labels along axes that were merged into one, the first of them changing slowest."""
    found = labels[0]
    for each in labels[1:]:
        numbers = int(each.max()) + 1 if _changes(each) else 0
        inner = each if numbers else np.zeros_like(each)
        found = (found[:, None] * max(numbers, 1) + inner[None, :]).reshape(-1)
    return found
