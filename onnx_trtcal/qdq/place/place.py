"""Decides where Q/DQ pairs go: a pure function of the graph, its groups and the options.

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
from onnx_trtcal.graph.ops import INT8_CAPABLE
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.concat_ties import concat_ties
from onnx_trtcal.qdq.place.layer_rules import is_layer, is_rearranged, weight_axis, why_left
from onnx_trtcal.qdq.place.pair_reads import PairReads
from onnx_trtcal.qdq.place.placement import Activation, Placement, Read, Weight
from onnx_trtcal.qdq.place.shared_pairs import share_pairs

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group
    from onnx_trtcal.qdq.place.mixed_concats import MixedConcat

__all__ = ["place"]


def place(
    graph: gs.Graph,
    groups: Sequence[Group],
    options: QdqOptions = QdqOptions(),
    available: Container[str] | None = None,
    unseen: Container[str] = (),
    mixed: Sequence[MixedConcat] = (),
) -> Placement:
    """Decides which tensors of a folded graph carry a Q/DQ pair and who reads it.

    Args:
        graph: the folded graph, topologically sorted; not changed.
        groups: what TensorRT fuses, from `find_groups`.
        options: which layers stay in floating point.
        available: names of tensors that have a scale; an op that reads another tensor is left alone. None
            means that every tensor has one.
        unseen: names of tensors whose scale is made up, because no value of theirs was ever seen: an op that reads
            one is left alone, too.
        mixed: the Concats whose branches keep their own scales; only layers read one through a pair.
    """
    return _Placer(graph, groups, options, available, unseen, mixed).place()


class _Placer:
    def __init__(
        self,
        graph: gs.Graph,
        groups: Sequence[Group],
        options: QdqOptions,
        available: Container[str] | None,
        unseen: Container[str],
        mixed: Sequence[MixedConcat],
    ) -> None:
        self.flow = Flow(graph)
        self.groups = {group.anchor: group for group in groups}
        self.options = options
        self.available = available
        self.unseen = unseen
        self.mixed = {each.tensor: each for each in mixed}
        self.pairs = PairReads(self.flow)
        self.weights: list[Weight] = []
        self.quantized: list[str] = []
        self.left: dict[str, str] = {}
        self.float_skips: dict[str, str] = {}

    def place(self) -> Placement:
        """Layers first; then, from the outputs backwards, the ops that can pass on INT8 between them."""
        for node in self.flow.nodes:
            if is_layer(node):
                self._layer(node)
        grouped = {name for group in self.groups.values() for name in group.nodes}
        for node in reversed(self.flow.nodes):
            if kind(node) in INT8_CAPABLE and node.outputs[0].name not in grouped:
                self._capable(node)
        for node in self.flow.nodes:
            if kind(node) == "AveragePool" and node.outputs[0].name not in grouped:
                self._pool(node)
        self.pairs.lift_through_moves(self._stays_float, self._has_scale)
        share_pairs(self.flow, self.pairs, self._stays_float, self.mixed)
        ordered = [tensor for tensor in self.flow.tensors if tensor in self.pairs.reads]
        return Placement(
            activations=tuple(Activation(tensor, tuple(self.pairs.reads[tensor])) for tensor in ordered),
            weights=tuple(self.weights),
            quantized=tuple(self.quantized),
            left=dict(self.left),
            float_skips=dict(self.float_skips),
            ties=concat_ties(self.flow, ordered, self.mixed) if self.options.share_concat else (),
            unmatched=tuple(
                pattern
                for pattern in self.options.exclude
                if not any(_matches(pattern, node) for node in self.flow.nodes)
            ),
            lifted=dict(self.pairs.lifted),
            mixed=tuple(self.mixed.values()),
            mixed_readers=self._mixed_readers(ordered),
        )

    def _mixed_readers(self, tensors: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The layers that read a mixed Concat through a pair, also behind ops that only move its values."""
        found: dict[str, tuple[str, ...]] = {}
        for tensor in tensors:
            root = self.flow.root(tensor)
            if root in self.mixed:
                direct = self.pairs.reads[tensor]
                final = [each for read in direct for each in self.pairs.lifted.get(read.node, (read,))]
                found[root] = (*found.get(root, ()), *(read.node for read in final))
        return found

    def _layer(self, node: gs.Node) -> None:
        """Both inputs of a layer, and the skip input of the residual Add that is fused behind it."""
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
            or (self._why_missing("input", missing) if missing is not None else None)
        )
        if reason is not None:
            self.left[name] = reason
            return
        self.quantized.append(name)
        self.pairs.int8_outputs.add(self.groups[name].output if name in self.groups else name)
        for index, tensor in enumerate(node.inputs[:2]):
            shape = self.flow.constants.shape(tensor)
            if shape is None:
                self.pairs.add(tensor.name, name, index)
            else:
                axis = weight_axis(node, index, len(shape))
                self.weights.append(Weight(Read(name, index), tensor.name, axis, self._stored_as_float(node)))
        self._skip(self.groups.get(name))

    def _stored_as_float(self, node: gs.Node) -> bool:
        """Whether the weights of a layer keep their type in the file."""
        if self.options.weights != "auto":
            return self.options.weights == "float"
        group = self.groups.get(node.outputs[0].name)
        return is_rearranged(self.flow, node, group.output if group else node.outputs[0].name)

    def _skip(self, group: Group | None) -> None:
        """The skip input of a residual Add, never the convolution's side.

        The Add then runs inside the convolution's kernel, and its output takes the precision of the skip.
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
                    self.pairs.add(tensor.name, name, index)
                else:
                    self.float_skips[name] = excluded or self._why_missing("skip input", tensor.name)

    def _capable(self, node: gs.Node) -> None:
        """Pairs on the inputs of an op without weights, if it then passes on INT8; elsewhere they only cost."""
        output = node.outputs[0].name
        if self._excluded(node) or not self.pairs.is_read_as_int8(output):
            return
        data = [tensor.name for tensor in (node.inputs if node.op == "Add" else node.inputs[:1])]
        if all(self._has_scale(name) and self.pairs.comes_as_int8(name) for name in data):
            for index, name in enumerate(data):
                self.pairs.add(name, output, index)
            self.pairs.int8_outputs.add(output)

    def _pool(self, node: gs.Node) -> None:
        """Pairs around an AveragePool whose input is INT8 for all others, whatever reads its output.

        No kernel of it reads INT8 and writes floating point, so that without them its large input would be written in
        both types; its output is small.
        """
        data, output = node.inputs[0].name, node.outputs[0].name
        readers = self.pairs.raw_readers(output)
        if (
            self._excluded(node)
            or Read(output, 0) in self.pairs.reads.get(data, ())
            or self.flow.root(data) in self.mixed
            or not (self._has_scale(data) and self._has_scale(output))
            or not self.pairs.comes_as_int8(data)
            or self.flow.is_output(output)
            or any(index < 0 or self._excluded(reader) for reader, index in readers)
            # What is joined in floating point, and read on its own, is written in place of the Concat as it is.
            or (len(readers) > 1 and any(kind(reader) == "Concat" for reader, _ in readers))
        ):
            return
        self.pairs.add(data, output, 0)
        if not self.pairs.is_read_as_int8(data):
            self.pairs.remove(data, output, 0)
            return
        self.pairs.int8_outputs.add(output)
        for reader, index in readers:
            self.pairs.add(output, reader.outputs[0].name, index)

    def _has_scale(self, tensor: str) -> bool:
        return tensor not in self.unseen and (self.available is None or tensor in self.available)

    def _why_missing(self, what: str, tensor: str) -> str:
        if tensor in self.unseen:
            return f"the range of its {what} {tensor!r} was never seen"
        return f"no scale for its {what} {tensor!r}"

    def _stays_float(self, node: gs.Node) -> bool:
        return self._excluded(node) is not None

    def _excluded(self, node: gs.Node) -> str | None:
        pattern = next((each for each in self.options.exclude if _matches(each, node)), None)
        return None if pattern is None else f"excluded by {pattern!r}"


def _matches(pattern: str, node: gs.Node) -> bool:
    names = (node.name, node.op, *(tensor.name for tensor in node.outputs))
    return any(name and (name == pattern or fnmatchcase(name, pattern)) for name in names)
