"""By how much a net reduces its input: sizes that are multiples of that fit again where it joins its branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

__all__ = ["total_stride"]

_REDUCING = {"Conv", "MaxPool", "AveragePool", "LpPool", "QLinearConv"}


def total_stride(graph: onnx.GraphProto) -> int:
    """The largest factor between the input's height or width and that of a tensor; 1 where nothing is reduced.

    Strides multiply along a path, and what enlarges divides. A scale that is computed counts as none.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    factors: dict[str, int] = {}
    for node in graph.node:
        base = max((factors.get(name, 1) for name in node.input), default=1)
        factor = max(1, round(base * _factor(node, constants)))
        factors.update(dict.fromkeys(node.output, factor))
    return max(factors.values(), default=1)


def _factor(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> float:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    strides = max(attributes["strides"].ints, default=1) if "strides" in attributes else 1
    block = attributes["blocksize"].i if "blocksize" in attributes else 1
    if node.op_type in _REDUCING:
        return strides
    if node.op_type == "ConvTranspose":
        return 1 / strides
    if node.op_type in ("SpaceToDepth", "DepthToSpace"):
        return block if node.op_type == "SpaceToDepth" else 1 / block
    if node.op_type in ("Resize", "Upsample"):
        name = node.input[min(2, len(node.input) - 1)]
        tensor = constants.get(name)
        scales = numpy_helper.to_array(tensor) if tensor is not None and tensor.dims else None
        if scales is not None and scales.size and scales.dtype.kind == "f" and scales.max() > 0:
            return 1 / float(scales[-1])
    return 1
