"""The layers of an ONNX model, its Conv, ConvTranspose, Gemm and MatMul nodes, and how they are quantized."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.graph.model.inference import infer_types, skeleton
from onnx_trtcal.graph.model.nodes import bodies, layer_name, nodes_of
from onnx_trtcal.graph.model.order import sorted_nodes
from onnx_trtcal.graph.ops import ANCHORS
from onnx_trtcal.trt.compiler.scope import STANDARD, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.graph.model.inference import Shape

__all__ = ["ModelLayer", "find_model_layers"]


@dataclass(frozen=True)
class ModelLayer:
    """A layer as the model states it.

    Attributes:
        name: its name, or its first output where it has none.
        layer: the name that NVIDIA's parser gives its layer.
        unique: whether no other node has that name.
        op: Conv, ConvTranspose, Gemm or MatMul.
        macs: multiply-adds of one inference; None where shapes are unknown.
        depth: multiply-adds per value of its output (of its input, for a ConvTranspose); None where unknown.
        lacking: which operands have no Q/DQ pair, in words; empty when both have one.
        fault: what about its pairs keeps this compiler from INT8; empty when nothing is known of.
        constant: whether it reads constants only, so that it is computed when the engine is built.
    """

    name: str
    layer: str
    unique: bool
    op: str
    macs: int | None
    depth: int | None
    lacking: str
    fault: str
    constant: bool

    @property
    def has_pairs(self) -> bool:
        """Whether both operands carry Q/DQ pairs."""
        return not self.lacking


def find_model_layers(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> tuple[ModelLayer, ...]:
    """The layers of a model, those inside If, Loop and Scan included, in running order.

    Args:
        proto: the model; its weights may be external and are not read.
        shapes: graph input -> its shape, for inputs whose shape the model leaves open.
    """
    named = Counter(layer_name(node) for node in nodes_of(proto.graph))
    known = _shapes(proto, shapes)
    scope = Scope({}, {}, frozenset())
    return tuple(_layers_of(proto.graph, scope, known, named))


def _shapes(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Mapping[str, Shape | None]:
    """The shape of every tensor of the main graph, for the given shapes of its inputs."""
    light = skeleton(proto)
    for value in light.graph.input:
        if value.name in shapes and value.type.HasField("tensor_type"):
            shape = onnx.TensorShapeProto()
            for size in shapes[value.name]:
                shape.dim.add().dim_value = size
            value.type.tensor_type.shape.CopyFrom(shape)
    # What the model states of its tensors was for open dimensions.
    if shapes:
        del light.graph.value_info[:]
        for value in light.graph.output:
            value.type.tensor_type.ClearField("shape")
    return infer_types(light).shapes


def _layers_of(
    graph: onnx.GraphProto, outer: Scope, shapes: Mapping[str, Shape | None], named: Mapping[str, int]
) -> Iterator[ModelLayer]:
    scope = outer.inside(graph)
    for node in sorted_nodes(graph.node):
        if node.op_type in ANCHORS and node.domain in STANDARD and len(node.input) >= 2:
            layer = layer_name(node)
            depth = _depth(node, *(scope.shape(name, shapes) for name in node.input[:2]))
            pairs = [scope.dequantizer(name) for name in node.input[:2]]
            yield ModelLayer(
                name=node.name or node.output[0],
                layer=layer,
                unique=named[layer] == 1,
                op=node.op_type,
                macs=_macs(node, depth, shapes),
                depth=depth,
                lacking=_lacking(node, pairs, scope),
                fault=_fault(node, pairs, scope),
                constant=all(name in scope.constant for name in node.input[:2]),
            )
        for body in bodies(node):
            yield from _layers_of(body, scope, {}, named)


def _macs(node: onnx.NodeProto, depth: int | None, shapes: Mapping[str, Shape | None]) -> int | None:
    counted = _known(shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0]))
    return None if depth is None or counted is None else depth * math.prod(counted)


def _depth(node: onnx.NodeProto, left: Shape | None, right: Shape | None) -> int | None:
    if node.op_type in ("Conv", "ConvTranspose"):
        sizes = _known(right[1:] if right else None)
        return None if sizes is None else math.prod(sizes)
    # The common dimension is known from either side.
    rows = -2 if right and len(right) > 1 else -1
    if node.op_type == "Gemm":
        of_left, of_right = (
            -2 if _attribute(node, "transA", 0) else -1,
            -1 if _attribute(node, "transB", 0) else -2,
        )
    else:
        of_left, of_right = -1, rows
    common = [side[at] for side, at in ((right, of_right), (left, of_left)) if side and len(side) >= -at]
    return next((size for size in common if isinstance(size, int)), None)


def _known(shape: Shape | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _lacking(node: onnx.NodeProto, pairs: Sequence[onnx.NodeProto | None], scope: Scope) -> str:
    missing = [name for name, pair in zip(node.input[:2], pairs, strict=True) if pair is None]
    return " and ".join(_operand(node, name, scope) for name in missing)


def _operand(node: onnx.NodeProto, name: str, scope: Scope) -> str:
    maker = scope.makers.get(name)
    if name in scope.constant:
        computed = maker is not None and maker.op_type != "Constant"
        return f"its weights, which {maker.op_type} computes" if computed and maker else "its weights"
    if node.op_type in ("Conv", "ConvTranspose"):
        return "its weights, which the model computes at run time" if name == node.input[1] else "its input"
    return f"its input {name!r}"


def _fault(node: onnx.NodeProto, pairs: Sequence[onnx.NodeProto | None], scope: Scope) -> str:
    """Scales that the compiler takes and then does not run in INT8 with; found by compiling each case."""
    for name, pair in zip(node.input[:2], pairs, strict=True):
        if pair is None or len(pair.input) < 2:
            continue
        shape = scope.stored.get(pair.input[1])
        if shape is None:
            return f"the scale of {pair.output[0]!r} is computed, not stored"
        if name not in scope.constant and shape:
            kind = "per channel" if math.prod(shape) > 1 else f"of shape {list(shape)}, not a scalar"
            return f"the scale of its input {name!r} is {kind}"
        if name in scope.constant and len(shape) == 1 and shape[0] > 1 and pair.output[0] == name:
            fault = _wrong_axis(node, name, pair, scope)
            if fault:
                return fault
    return ""


def _wrong_axis(node: onnx.NodeProto, name: str, pair: onnx.NodeProto, scope: Scope) -> str:
    quantizer = scope.makers.get(pair.input[0])
    rank = len(scope.stored.get(quantizer.input[0] if quantizer is not None else pair.input[0], ()))
    if rank < 2:
        return ""
    wanted = {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, rank - 1)
    if node.op_type == "Gemm" and _attribute(node, "transB", 0):
        wanted = 0
    if name == node.input[0]:
        return ""
    axis = _attribute(pair, "axis", 1) % rank
    return "" if axis == wanted else f"its weights have scales along axis {axis}, not along output channels"


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)
