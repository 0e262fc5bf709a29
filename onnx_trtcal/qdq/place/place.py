"""Where Q/DQ pairs go, as data: a pure function of the graph, its groups and the options.

A pair sits on the tensor that the quantized op itself reads. TensorRT moves Q towards the producer (through
MaxPool, Reshape, Transpose, Concat …) and DQ towards the consumer, so ops that only move values need no pair
of their own, and a tensor read by several quantized ops has one pair that all of them share. Between the ops
that TensorRT runs as one kernel there is never a pair: Conv, bias and activation stay together.

The rules are TensorRT's, "Q/DQ Layer-Placement Recommendations" in its developer guide.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.ops import INT8_CAPABLE, READ_NO_VALUES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.placement import Activation, Placement, Read, Weight
from onnx_trtcal.qdq.place.share import shared_by_concat
from onnx_trtcal.qdq.place.weighted import is_weighted, weight_axis, why_left

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group

__all__ = ["place"]


def place(
    graph: gs.Graph,
    groups: Sequence[Group],
    options: QdqOptions = QdqOptions(),  # noqa: B008 (frozen)
    available: Container[str] | None = None,
) -> Placement:
    """Decides which tensors of a folded graph carry a Q/DQ pair and who reads it.

    Args:
        graph: the folded graph, topologically sorted; not changed.
        groups: what TensorRT fuses, from `find_groups`.
        options: which layers stay in floating point.
        available: names of tensors that have a scale; an op that reads another tensor is left alone.
    """
    return _Placer(graph, groups, options, available).place()


class _Placer:
    def __init__(
        self, graph: gs.Graph, groups: Sequence[Group], options: QdqOptions, available: Container[str] | None
    ) -> None:
        self.flow = Flow(graph)
        self.groups = {group.anchor: group for group in groups}
        self.options = options
        self.available = available
        self.reads: dict[str, list[Read]] = {}
        self.weights: list[Weight] = []
        self.quantized: list[str] = []
        self.left: dict[str, str] = {}
        self.float_skips: dict[str, str] = {}
        self.int8_outputs: set[str] = set()
        self.lifted: dict[str, tuple[Read, ...]] = {}

    def place(self) -> Placement:
        """Weighted ops first, then what passes INT8 on between them, from the outputs backwards."""
        for node in self.flow.nodes:
            if is_weighted(node):
                self._weighted(node)
        grouped = {name for group in self.groups.values() for name in group.nodes}
        for node in reversed(self.flow.nodes):
            if kind(node) in INT8_CAPABLE and node.outputs[0].name not in grouped:
                self._capable(node)
        self._lift_through_moves()
        ordered = [tensor for tensor in self.flow.tensors if tensor in self.reads]
        return Placement(
            activations=tuple(Activation(tensor, tuple(self.reads[tensor])) for tensor in ordered),
            weights=tuple(self.weights),
            quantized=tuple(self.quantized),
            left=dict(self.left),
            float_skips=dict(self.float_skips),
            shared=shared_by_concat(self.flow, ordered) if self.options.share_concat else (),
            unmatched=tuple(
                pattern
                for pattern in self.options.exclude
                if not any(_matches(pattern, node) for node in self.flow.nodes)
            ),
            lifted=dict(self.lifted),
        )

    def _weighted(self, node: gs.Node) -> None:
        """Both inputs of a weighted op, and the skip input of the residual Add that is fused behind it."""
        name = node.outputs[0].name
        activations = [
            (index, tensor)
            for index, tensor in enumerate(node.inputs[:2])
            if self.flow.constants.shape(tensor) is None
        ]
        missing = next((tensor.name for _, tensor in activations if not self._has_scale(tensor.name)), None)
        reason = (
            self._excluded(node)
            or why_left(node, self.options, self.flow.constants)
            or (f"no scale for its input {missing!r}" if missing is not None else None)
        )
        if reason is not None:
            self.left[name] = reason
            return
        self.quantized.append(name)
        self.int8_outputs.add(self.groups[name].output if name in self.groups else name)
        for index, tensor in enumerate(node.inputs[:2]):
            shape = self.flow.constants.shape(tensor)
            if shape is None:
                self._read(tensor.name, name, index)
            else:
                axis = weight_axis(node, index, len(shape))
                self.weights.append(Weight(Read(name, index), tensor.name, axis))
        self._skip(self.groups.get(name))

    def _skip(self, group: Group | None) -> None:
        """The skip input, not the convolution's side: the Add then runs inside the convolution's kernel, and
        its output takes the precision of the skip.
        """
        if group is None or group.residual is None:
            return
        for name in group.nodes:
            node = self.flow.node[name]
            if node.op not in ("Add", "Sum"):
                continue
            for index, tensor in enumerate(node.inputs):
                if tensor.name != group.residual:
                    continue
                excluded = self._excluded(node)
                if excluded is None and self._has_scale(tensor.name):
                    self._read(tensor.name, name, index)
                else:
                    self.float_skips[name] = excluded or f"no scale for its skip input {tensor.name!r}"

    def _capable(self, node: gs.Node) -> None:
        """Pairs on an unweighted op's inputs where it then passes INT8 on; anywhere else they only cost."""
        output = node.outputs[0].name
        if self._excluded(node) or not self._read_as_int8(output):
            return
        data = [tensor.name for tensor in (node.inputs if node.op == "Add" else node.inputs[:1])]
        if all(self._has_scale(name) and self._comes_as_int8(name) for name in data):
            for index, name in enumerate(data):
                self._read(name, output, index)
            self.int8_outputs.add(output)

    def _readers(self, tensor: str) -> list[tuple[gs.Node, int]]:
        """The nodes that read a tensor's values."""
        return [each for each in self.flow.consumers(tensor) if kind(each[0]) not in READ_NO_VALUES]

    def _read_as_int8(self, tensor: str) -> bool:
        """Whether all that read a tensor, through any ops that commute with Q, read it from a pair."""
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            consumers, pair = self._readers(name), set(self.reads.get(name, ()))
            if self.flow.is_output(name) or not consumers:
                return False
            for node, index in consumers:
                if Read(node.outputs[0].name, index) in pair:
                    continue
                if not 0 <= index < len(self.flow.data_inputs(node)):
                    return False
                following = {out.name for out in node.outputs if out.name} - seen
                seen |= following
                pending += sorted(following)
        return True

    def _comes_as_int8(self, tensor: str) -> bool:
        """Whether a tensor carries a pair already, or an INT8 layer makes it, maybe before commuting ops."""
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            if name in self.reads or name in self.int8_outputs:
                continue
            producer = self.flow.producer(name)
            above = () if producer is None else self.flow.data_inputs(producer)
            if not above:
                return False
            following = {each.name for each in above} - seen
            seen |= following
            pending += sorted(following)
        return True

    def _lift_through_moves(self) -> None:
        """One pair for a tensor and what only moves its values, where nothing in between is read in float.

        With `a` read by one Conv and MaxPool(a) by another, both read from the pair on `a`: unless the MaxPool
        is to stay in floating point, which then has its output quantized behind it.
        """
        for name in [tensor for tensor in self.flow.tensors if tensor in self.reads]:
            chain = self.flow.moves_above(name)
            at = next((i for i, node in enumerate(chain) if node.inputs[0].name in self.reads), None)
            if at is None:
                continue
            pair = set(self.reads[name])
            between = [node.outputs[0].name for node in chain[: at + 1]]
            if (
                all(Read(node.outputs[0].name, index) in pair for node, index in self._readers(name))
                and all(len(self._readers(each)) == 1 for each in between[1:])
                and not any(self.flow.is_output(each) for each in between)
                and not any(self._excluded(node) for node in chain[: at + 1])
            ):
                self.lifted[between[at]] = tuple(self.reads.pop(name))
                self._read(chain[at].inputs[0].name, between[at], 0)

    def _read(self, tensor: str, node: str, index: int) -> None:
        self.reads.setdefault(tensor, []).append(Read(node, index))

    def _has_scale(self, tensor: str) -> bool:
        return self.available is None or tensor in self.available

    def _excluded(self, node: gs.Node) -> str | None:
        pattern = next((each for each in self.options.exclude if _matches(each, node)), None)
        return None if pattern is None else f"excluded by {pattern!r}"


def _matches(pattern: str, node: gs.Node) -> bool:
    names = (node.name, node.op, *(tensor.name for tensor in node.outputs))
    return any(name and (name == pattern or fnmatchcase(name, pattern)) for name in names)
