"""How a layer's output changes with its weights, without running it again: by sums over what it reads.

With rows x of what a layer reads in INT8, exact outputs e and a bias b, weights w make y = x w + b, so that

    sum(e y)  = w' sum(x e) + b sum(e)
    sum(y y)  = w' sum(x x') w + 2 b w' sum(x) + b b n

The sums are made once for all candidates; those over integers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.scales import QUANTIZED_MAX, to_scale
from onnx_trtcal.search.covariance import Covariance
from onnx_trtcal.search.lanes import same_shapes, stack
from onnx_trtcal.search.layer_rows import rows_of, spread_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.search.layer_rows import Rows
    from onnx_trtcal.search.layers import Layer

__all__ = ["ChannelMoments", "channel_moments"]

# Rows per column that tell columns apart from noise, and their number at least and at most.
_PER_COLUMN, _FEWEST_ROWS, _MOST_ROWS = 16, 4096, 65536
# Of rows that are looked at together, in values.
_VALUES = 1 << 22
# Of sum(x x').
_MOST_BYTES = 1 << 27


@dataclass(frozen=True)
class ChannelMoments:
    """The sums of a layer.

    Attributes:
        rows: how the layer is rows times a matrix.
        squares: float64[groups, columns, columns], sum(x x').
        sums: float64[groups, columns], sum(x).
        cross: float64[groups, channels, columns], sum(x e).
        exact: float64[channels], sum(e).
        exact_power: float64[channels], sum(e e).
        bias: float64[channels].
        count: how many rows.
    """

    rows: Rows
    squares: np.ndarray
    sums: np.ndarray
    cross: np.ndarray
    exact: np.ndarray
    exact_power: np.ndarray
    bias: np.ndarray
    count: int

    def products(self, weights: np.ndarray) -> np.ndarray:
        """float64[3, tried, channels]: sum(e y), sum(e e) and sum(y y) with each of some weights.

        Args:
            weights: float64[tried, groups, channels, columns], as `rows.matrix` lays them out, with all that the
                layer multiplies them by.
        """
        tried = len(weights)
        # One product per group, whatever is tried.
        by_group = weights.transpose(1, 0, 2, 3).reshape(self.sums.shape[0], -1, self.rows.columns)
        power = np.einsum("grc,grc->gr", by_group @ self.squares, by_group)
        power = power.reshape(len(power), tried, -1).transpose(1, 0, 2).reshape(tried, -1)
        linear = np.einsum("tgoc,gc->tgo", weights, self.sums).reshape(tried, -1)
        product = np.einsum("tgoc,goc->tgo", weights, self.cross).reshape(tried, -1) + self.bias * self.exact
        power += self.bias * (2 * linear + self.bias * self.count)
        return np.stack([product, np.broadcast_to(self.exact_power, product.shape), power])


def channel_moments(
    layer: Layer, weight: str, threshold: float, values: Sequence[Mapping[str, np.ndarray]], together: int
) -> ChannelMoments | None:
    """The sums over some samples.

    Args:
        layer: a layer with one constant operand.
        weight: that one.
        threshold: of what the layer reads.
        values: what the layer reads and makes, for each sample.
        together: so many samples of one shape may be looked at together, one after another along axis 0.

    Returns:
        None where the layer is not rows times a matrix plus a constant, where something is not finite, or where the
        sums would take more memory than they are worth.
    """
    read = layer.constants[weight][0]
    rows = rows_of(layer.node, read.index, layer.exact(weight).shape)
    if rows is None or len(layer.activations) != 1 or 8 * rows.groups * rows.columns**2 > _MOST_BYTES:
        return None
    bias = _bias(layer, rows)
    if bias is None:
        return None
    (tensor,) = layer.activations
    axis = WEIGHTED[kind(layer.node)].output_axes(read.index, layer.exact(weight).ndim)[0]
    most = min(max(_PER_COLUMN * rows.columns, _FEWEST_ROWS), _MOST_ROWS)
    scale = to_scale(threshold)
    covariance = Covariance(rows.groups, rows.columns)
    channels = bias.size
    sums = np.zeros((rows.groups, rows.columns))
    cross = np.zeros((rows.groups, channels // rows.groups, rows.columns))
    exact, exact_power = np.zeros(channels), np.zeros(channels)
    turn, share = 0, -(-most // len(values))
    together = min(together, max(_VALUES // (share * rows.columns * rows.groups), 1))
    for arrays, items in _stacks(values, (tensor, layer.name), together):
        wanted = spread_over(rows.count(arrays[tensor]), items, share, turn)
        turn += items
        steps = np.rint(arrays[tensor].astype(np.float32) / np.float32(scale))
        read_as = rows.rows(np.clip(steps, -QUANTIZED_MAX, QUANTIZED_MAX), wanted)
        made = np.moveaxis(arrays[layer.name], axis, -1).reshape(-1, channels)[wanted].astype(np.float64)
        if not (np.isfinite(read_as).all() and np.isfinite(made).all()):
            return None
        covariance.add(read_as)
        sums += read_as.sum(axis=1, dtype=np.float64)
        by_group = made.reshape(len(made), rows.groups, -1).transpose(1, 2, 0)
        cross += by_group @ read_as
        exact += made.sum(axis=0)
        exact_power += np.einsum("rc,rc->c", made, made)
    return ChannelMoments(
        rows,
        covariance.sums * scale**2,
        sums * scale,
        cross * scale,
        exact,
        exact_power,
        bias,
        covariance.rows,
    )


def _stacks(
    values: Sequence[Mapping[str, np.ndarray]], names: Sequence[str], together: int
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Some tensors of a few samples at a time, and of how many."""
    group: list[dict[str, np.ndarray]] = []
    for arrays in values:
        each = {name: arrays[name] for name in names}
        if group and (len(group) == together or not same_shapes(group[0], each)):
            yield stack(group), len(group)
            group = []
        group.append(each)
    yield stack(group), len(group)


def _bias(layer: Layer, rows: Rows) -> np.ndarray | None:
    """float64[channels]: what the layer adds to its products; None where that is not one constant per channel."""
    op = WEIGHTED[kind(layer.node)]
    node = layer.node
    (read, _), *_ = layer.constants.values()
    channels = rows.matrix(np.broadcast_to(np.float32(0), rows.weight)).shape[:2]
    none = np.zeros(channels[0] * channels[1])
    if op.bias_input is None or len(node.inputs) <= op.bias_input or not node.inputs[op.bias_input].name:
        return none
    value = layer.values.value(node.inputs[op.bias_input])
    if value is None or value.dtype.kind != "f" or not (value.size == 1 or value.shape[-1] == value.size):
        return None
    if read.index == 0:
        return None  # channels are rows, and a bias is added to columns
    factor = float(node.attrs.get(op.bias_factor, 1.0)) if op.bias_factor else 1.0
    found: np.ndarray = none + factor * value.astype(np.float64).ravel()
    return found if found.size == none.size else None
