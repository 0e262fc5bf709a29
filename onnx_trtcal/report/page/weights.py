"""The weights of quantized layers, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.figures import WeightRanges, weight_ranges
from onnx_trtcal.qdq.weight_scales import DEAD

if TYPE_CHECKING:
    from onnx_trtcal.qdq.place.placement import Weight
    from onnx_trtcal.report.page.network import Network

__all__ = ["weights_of"]


def weights_of(network: Network, layer: str) -> WeightRanges | None:
    """The weights of a layer.

    Args:
        network: that has it.
        layer: its first output.

    Returns:
        None where it is not quantized, or where nobody can read its weights.
    """
    return next(
        (_facts(each, network) for each in network.placement.weights if each.read.node == layer), None
    )


def _facts(weight: Weight, network: Network) -> WeightRanges | None:
    node = network.flow.node.get(weight.read.node)
    if node is None or weight.read.index >= len(node.inputs):
        return None
    values = network.flow.constants.value(node.inputs[weight.read.index])
    if values is None or not values.size:
        return None
    values, axis = (values[None], 0) if weight.axis is None else (values, weight.axis)
    ranges = weight_ranges(weight.tensor, values, axis, alive=DEAD)
    return ranges if np.isfinite([ranges.least, ranges.largest]).all() else None
