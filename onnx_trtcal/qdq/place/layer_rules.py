"""Layers, the ops whose two inputs are quantized, and the rules that leave one in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_trtcal.graph.ops import AROUND_SOFTMAX
from onnx_trtcal.graph.view import kind, numpy_type
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants
    from onnx_trtcal.graph.flow import Flow
    from onnx_trtcal.qdq.options import QdqOptions

__all__ = ["is_layer", "is_rearranged", "weight_axis", "why_left"]

# A product in front of these may be cut up, its weights with it.
_REARRANGES = frozenset({"Gather", "Reshape", "Slice", "Split", "Transpose"})

# A bias or a factor may stand between.
_KEEP_LAYOUT = frozenset({"Add", "Cast", "Div", "Identity", "Mul", "Sub"})

# NVIDIA's compiler computes a convolution of a single point in the kernel around it up to here, dequantized.
_FEW_SUMMED = 4
# With a threshold of 1, the average of so many probabilities still has 4 of 127 levels.
_MOST_PROBABILITIES = 127 // 4


def is_layer(node: gs.Node) -> bool:
    """Whether a node is a layer: a weighted operator with both operands."""
    return kind(node) in WEIGHTED and len(node.inputs) >= 2


def weight_axis(node: gs.Node, index: int, rank: int) -> int | None:
    """The output-channel axis of the constant operand at input `index`; None if it has none."""
    return WEIGHTED[kind(node)].weight_axis(node.attrs, index, rank)


def is_rearranged(flow: Flow, node: gs.Node, output: str) -> bool:
    """Whether a matrix product's result is reshaped, transposed or cut up next, as that of a packed QKV is.

    NVIDIA's compiler then cuts up the weights instead. Weights stored as INT8 with DQ only are dequantized at run time
    for that, and the product runs in floating point; those stored as float are cut up first and quantized after.

    Args:
        flow: the graph.
        node: a layer.
        output: what its fused group writes.
    """
    if node.op not in ("Gemm", "MatMul"):
        return False
    pending, seen = [output], {output}
    while pending:
        for reader, index in flow.consumers(pending.pop()):
            if index == 0 and kind(reader) in _REARRANGES:
                return True
            made = reader.outputs[0].name
            if index >= 0 and kind(reader) in _KEEP_LAYOUT and made not in seen:
                seen.add(made)
                pending.append(made)
    return False


def why_left(node: gs.Node, options: QdqOptions, constants: Constants) -> str | None:
    """Why a layer stays in floating point; None when both its inputs can be quantized."""
    shapes = [constants.shape(tensor) for tensor in node.inputs[:2]]
    if all(shape is not None for shape in shapes):
        return "both inputs are constant"
    types = [_type_class(tensor) for tensor in node.inputs[:2]]
    if "integer" in types:
        return "integer inputs"
    if "float64" in types:
        return "float64, which TensorRT does not quantize"
    if any(parent.op == "DequantizeLinear" for tensor in node.inputs[:2] for parent in tensor.inputs):
        return "already quantized"
    if WEIGHTED[kind(node)].convolution:
        if shapes[1] is None:
            return "its weights are computed, not constant"
        return _small_convolution(node, shapes[1], options)
    return _product(node, shapes, options)


def _small_convolution(node: gs.Node, shape: Sequence[int], options: QdqOptions) -> str | None:
    group = int(node.attrs.get("group", 1))
    into, out = WEIGHTED[kind(node)].channels(node.attrs, 1, shape)
    if kind(node) == "ConvTranspose":
        if options.target == "rtx":
            return "ConvTranspose, for which TensorRT for RTX has no INT8 kernel"
        if options.target == "tensorrt" and group > 1:
            return "grouped ConvTranspose, which TensorRT 8 may refuse to build in INT8 (see target)"
    if max(into, out) < options.min_channels:
        return f"{into} input and {out} output channels, both fewer than {options.min_channels} (option min_channels)"
    summed = int(np.prod(shape[1:]))
    if kind(node) == "Conv" and summed <= _FEW_SUMMED and _is_one_point(node.inputs[0]):
        return f"a convolution of a single point that sums {summed} products, fewer than an INT8 kernel adds at once"
    if group > 1 and options.min_channels > 1 and out % 8:
        return f"grouped, with {out} output channels: not a multiple of 8, which INT8 kernels want"
    return None


def _is_one_point(tensor: gs.Tensor) -> bool:
    """Whether an activation of a convolution has one value a channel, such as behind a GlobalAveragePool."""
    shape = _shape(tensor)
    return shape is not None and len(shape) > 2 and all(size == 1 for size in shape[2:])


def _product(node: gs.Node, constants: Sequence[Sequence[int] | None], options: QdqOptions) -> str | None:
    if all(shape is None for shape in constants) and (reason := _attention(node, options)):
        return reason
    sides = [
        tuple(shape) if shape is not None else _shape(tensor)
        for shape, tensor in zip(constants, node.inputs[:2], strict=True)
    ]
    if not options.gemv and WEIGHTED[kind(node)].is_gemv(node.attrs, sides[0], sides[1]):
        return "a matrix-vector product at every batch size"
    weight = next((shape for shape in constants if shape is not None), None)
    if weight is not None and len(weight) >= 2 and max(weight[-2:]) < options.min_channels:
        few = f"both fewer than {options.min_channels} (option min_channels)"
        return f"a weight of {weight[-2]} x {weight[-1]}, {few}"
    return None


def _attention(node: gs.Node, options: QdqOptions) -> str | None:
    """Why one of the two products around an attention's Softmax stays in floating point.

    Probabilities add up to 1: a scale that reaches 1 leaves the average of more than 31 of them under 4 levels, and
    a smaller threshold cuts the few that matter. On an attention over 320 positions (vittracker) the product with the
    values cost 13 to 30 dB of the model's outputs in INT8, that of queries and keys none.
    """
    above = _find_softmax(_makers(node), down=False)
    below = _find_softmax(_readers(node), down=True)
    if options.attention == "int8" or (above is None and below is None):
        return None
    if options.attention == "float":
        return "one of the two products around the Softmax of an attention (option attention)"
    if above is not None and (many := _many_probabilities(above)):
        return f"a product with {many} of an attention, too small for one INT8 scale that reaches 1 (option attention)"
    # The compiler fuses an attention whole in float16, and moves fewer bytes so than with one product in INT8.
    if below is not None and options.high_precision == "fp16" and _many_probabilities(below):
        return "the other product of its attention is in float16, and both are one kernel (option attention)"
    return None


def _many_probabilities(softmax: gs.Node) -> str:
    """How many values add up to 1, in words; empty where they are few enough for INT8."""
    shape = _shape(softmax.outputs[0]) or _shape(softmax.inputs[0])
    count = shape[-1] if shape else None
    if not isinstance(count, int):
        return "any number of probabilities"
    return f"{count} probabilities" if count > _MOST_PROBABILITIES else ""


def _makers(node: gs.Node) -> list[gs.Node]:
    return [parent for tensor in node.inputs for parent in tensor.inputs]


def _readers(node: gs.Node) -> list[gs.Node]:
    return [child for tensor in node.outputs for child in tensor.outputs]


def _find_softmax(nodes: list[gs.Node], *, down: bool, steps: int = 8) -> gs.Node | None:
    seen: set[int] = set()
    for _ in range(steps):
        following: list[gs.Node] = []
        for node in nodes:
            if node.op == "Softmax":
                return node
            if node.op not in AROUND_SOFTMAX or id(node) in seen:
                continue
            seen.add(id(node))
            following += _readers(node) if down else _makers(node)
        nodes = following
    return None


def _shape(tensor: gs.Tensor) -> tuple[object, ...] | None:
    return None if tensor.shape is None else tuple(tensor.shape)


def _type_class(tensor: gs.Tensor) -> Literal["integer", "float64", "float"]:
    """What a tensor's type means for INT8; bools count as integers, and an unknown type may be quantized."""
    dtype = numpy_type(tensor)
    if dtype is None:
        return "float"
    if dtype == np.float64:
        return "float64"
    return "integer" if dtype.kind in "iub" else "float"
