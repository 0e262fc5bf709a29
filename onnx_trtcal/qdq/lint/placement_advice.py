"""TensorRT's placement advice for Q/DQ pairs: what it accepts, but builds a worse engine from.

Source: TensorRT developer guide, "Q/DQ Layer-Placement Recommendations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.groups.group import Group, find_groups
from onnx_trtcal.graph.ops import INT8_CAPABLE
from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.qdq.lint.finding import Finding
from onnx_trtcal.qdq.lint.readers import reads_dequantized
from onnx_trtcal.qdq.place.layer_rules import is_layer
from onnx_trtcal.qdq.read.remove import RemovedQdq, remove_qdq

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.inference import Shape
    from onnx_trtcal.qdq.lint.finding import AdviceRule

__all__ = ["placement_findings"]


def placement_findings(graph: gs.Graph, shapes: Mapping[str, Shape | None]) -> tuple[Finding, ...]:
    """Every pair that costs speed or accuracy where it is, in graph order. The graph loses its pairs."""
    try:
        removed = remove_qdq(graph)
    except ModelError as error:
        consequence = "TensorRT may not fuse it into INT8 kernels"
        return (*_half_quantized(graph), Finding("advice", "no-pair", error.where, error.what, consequence))
    return tuple(_Advice(graph, removed, find_groups(graph, shapes)).findings())


def _half_quantized(graph: gs.Graph) -> Iterator[Finding]:
    """Layers with one quantized input, in a graph whose pairs cannot be removed."""
    for node in graph.nodes:
        if is_layer(node):
            yield from _one_input(node, reads_dequantized(node))


def _one_input(node: gs.Node, quantized: Sequence[bool]) -> Iterator[Finding]:
    if any(quantized) and not all(quantized):
        label = node.name or node.outputs[0].name
        what = f"only input {quantized.index(True)} of this {node.op} is quantized"
        consequence = "it runs in floating point, after a dequantization that costs time"
        yield Finding("float", "one-input", label, what, consequence)


class _Advice:
    def __init__(self, graph: gs.Graph, removed: RemovedQdq, groups: tuple[Group, ...]) -> None:
        self.flow = Flow(graph)
        self.removed = removed
        self.groups = groups

    def findings(self) -> Iterator[Finding]:
        for node in self.flow.nodes:
            if is_layer(node):
                yield from self._inputs(node)
            elif kind(node) == "Concat":
                yield from self._concat(node)
            elif self.flow.is_tied(node):
                yield from self._own_pair(node)
        for group in self.groups:
            yield from self._group(group)
        for tensor in self.removed.pairs:
            yield from self._several(tensor)

    def _next_to(self, node: gs.Node, index: int) -> bool:
        """Whether an input is the output of a DQ."""
        return (node.outputs[0].name, index) in self.removed.read_quantized

    def _read(self, node: gs.Node, index: int) -> bool:
        """Whether an input comes from a DQ, perhaps through ops that TensorRT moves the DQ through."""
        return self.flow.reads_dequantized(node, index, self.removed.read_quantized)

    def _scale(self, tensor: str) -> float:
        return max(float(quantizer.scale.max()) for quantizer in self.removed.pairs[tensor])

    def _inputs(self, node: gs.Node) -> Iterator[Finding]:
        yield from _one_input(node, [self._read(node, index) for index in (0, 1)])
        bias = WEIGHTED[kind(node)].bias_input
        if bias is not None and self._read(node, bias):
            yield _advice(
                "bias",
                node,
                "its bias is quantized",
                "TensorRT adds biases in floating point or INT32 and may refuse to fuse this one",
            )

    def _concat(self, node: gs.Node) -> Iterator[Finding]:
        scales = {
            tensor.name: self._scale(tensor.name)
            for index, tensor in enumerate(node.inputs)
            if self._next_to(node, index) and tensor.name in self.removed.pairs
        }
        output = node.outputs[0].name
        if scales and output in self.removed.pairs:
            scales[output] = self._scale(output)
        if len(set(scales.values())) > 1:
            yield _advice(
                "concat-scales",
                node,
                f"its quantized branches and output have {len(set(scales.values()))} different scales",
                "each branch is quantized again instead of being written in place",
            )

    def _own_pair(self, node: gs.Node) -> Iterator[Finding]:
        if self._read(node, 0) and node.outputs[0].name in self.removed.pairs:
            yield _advice(
                "commuting-pair",
                node,
                f"{node.op} has a pair in front of it and one behind it",
                "Q and DQ move through it anyway; the second pair can only add a requantization",
            )

    def _group(self, group: Group) -> Iterator[Finding]:
        anchor = self.flow.node[group.anchor]
        inside = {name: self.flow.node[name] for name in group.nodes}
        for tensor in group.inner:
            for node, index in self.flow.consumers(tensor):
                if not (self._next_to(node, index) and node.outputs[0].name in inside):
                    continue
                if group.residual is not None and group.residual in {each.name for each in node.inputs}:
                    yield _advice(
                        "residual-side",
                        node,
                        f"the {group.op} side of this residual Add is quantized",
                        "the Add does not run inside the group; quantize its skip input only",
                    )
                else:
                    yield _advice(
                        "inside-group",
                        node,
                        f"a pair sits between {group.op} and {node.op}",
                        f"{group.op} and {node.op} do not become one kernel, and values are rounded twice",
                    )
        if not (self._read(anchor, 0) and self._read(anchor, 1)):
            return
        yield from self._skip(group, inside)
        if any(kind(node) == "BatchNormalization" for node in inside.values()):
            yield _advice(
                "batchnorm",
                anchor,
                "BatchNormalization behind it is not folded into its quantized weights",
                "the weight scales are not those of the weights that run: fold first, then quantize",
            )
        if group.output in self.removed.pairs and not self._useful(group.output):
            yield _advice(
                "output-pair",
                anchor,
                f"its output {group.output!r} is quantized, but no INT8 layer reads it",
                "accuracy is lost and nothing is gained: leave the pair out",
            )

    def _skip(self, group: Group, inside: Mapping[str, gs.Node]) -> Iterator[Finding]:
        for node in inside.values():
            for index, tensor in enumerate(node.inputs):
                if tensor.name == group.residual and not self._read(node, index):
                    yield _advice(
                        "residual-skip",
                        node,
                        f"the skip input {tensor.name!r} of this residual Add is not quantized",
                        "the group then writes floating point, whatever reads its output",
                    )

    def _useful(self, tensor: str) -> bool:
        """Whether an INT8 layer reads a tensor, perhaps behind a Cast to another float type."""
        return any(
            self._useful(node.outputs[0].name)
            if node.op == "Cast"
            else self._read(node, index)
            and (is_layer(node) or node.op in INT8_CAPABLE or len(self.flow.data_inputs(node)) > 0)
            for node, index in self.flow.consumers(tensor)
        )

    def _several(self, tensor: str) -> Iterator[Finding]:
        scales = {quantizer.scale.tobytes() for quantizer in self.removed.pairs[tensor]}
        if len(scales) > 1:
            name = self.removed.pairs[tensor][0].node.name or tensor
            what = f"tensor {tensor!r} has pairs of {len(scales)} different scales"
            yield Finding("advice", "several-scales", name, what, "it is quantized once for each of them")


def _advice(rule: AdviceRule, node: gs.Node, what: str, consequence: str) -> Finding:
    label = node.name or (node.outputs[0].name if node.outputs else node.op)
    return Finding("advice", rule, label, what, consequence)
