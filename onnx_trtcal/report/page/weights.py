"""The weights of quantized layers, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.figures import WeightRanges
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
    channels = np.asarray(values, np.float32)
    channels = np.moveaxis(channels, weight.axis, 0) if weight.axis is not None else channels[None]
    channels = channels.reshape(channels.shape[0], -1)
    least, largest = (bound.astype(np.float64) for bound in (channels.min(axis=1), channels.max(axis=1)))
    magnitudes = np.maximum(np.abs(least), np.abs(largest))
    if not np.isfinite(magnitudes).all():
        return None
    dead = tuple(int(each) for each in np.flatnonzero(magnitudes < DEAD))
    return WeightRanges(weight.tensor, least, largest, dead)
