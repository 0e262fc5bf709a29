"""The weights of quantized layers, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.qdq.weight_scales import DEAD
from onnx_trtcal.report.page.facts import WeightFacts

if TYPE_CHECKING:
    from onnx_trtcal.qdq.place.placement import Weight
    from onnx_trtcal.report.page.network import Network

__all__ = ["weights_of"]


def weights_of(network: Network) -> dict[str, WeightFacts]:
    """First output of a layer -> its weights; layers whose weights nobody can read are left out."""
    found = {}
    for weight in network.placement.weights:
        facts = _facts(weight, network)
        if facts is not None:
            found[weight.read.node] = facts
    return found


def _facts(weight: Weight, network: Network) -> WeightFacts | None:
    node = network.flow.node.get(weight.read.node)
    if node is None or weight.read.index >= len(node.inputs):
        return None
    values = network.flow.constants.value(node.inputs[weight.read.index])
    if values is None or not values.size:
        return None
    values = np.asarray(values, np.float32)
    if weight.axis is None:
        channels = values.reshape(1, -1)
    else:
        moved = np.moveaxis(values, weight.axis, 0)
        channels = moved.reshape(moved.shape[0], -1)
    ranges = np.stack([channels.min(axis=1), channels.max(axis=1)], axis=1).astype(np.float64)
    if not np.isfinite(ranges).all():
        return None
    magnitudes = np.abs(ranges).max(axis=1)
    dead = tuple(int(each) for each in np.flatnonzero(magnitudes < DEAD))
    typical = float(np.median(magnitudes))
    spread = float(magnitudes.max()) / typical if typical else 0.0
    return WeightFacts(weight.tensor, ranges, dead, spread)
