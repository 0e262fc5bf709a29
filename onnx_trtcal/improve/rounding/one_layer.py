"""Rounds one layer and shifts its bias, as far as that helps on samples that neither was found on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.improve.rounding.bias_shift import channel_means, find_shift
from onnx_trtcal.improve.rounding.chain import Step
from onnx_trtcal.improve.rounding.gptq import round_rows
from onnx_trtcal.search.covariance import Covariance
from onnx_trtcal.search.layer_rows import spread_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onnx_trtcal.improve.rounding.chain import Chain
    from onnx_trtcal.improve.rounding.layer import RoundedLayer

__all__ = ["Codes", "LayerRun", "WeightedRun", "error_power", "find_codes", "shift_of"]

# Rows of H: enough for every pair of columns to be told apart from noise, and no more than a few seconds' work.
_MOST_ROWS, _FEWEST_ROWS, _PER_COLUMN = 65536, 4096, 16
# Of H: 5792 inputs of a product, or 643 channels of a 3x3 convolution.
_MOST_BYTES = 1 << 28
# Of what a layer makes in front of its activation with one weight.
_KEPT_BYTES = 1 << 26
# Values per channel that a bias is matched on, and values of all channels together.
_MOST_PLACES, _FEWEST_PLACES, _PLACES_OF_ALL = 4096, 1024, 1 << 22


@dataclass(frozen=True)
class Codes:
    """A weight as integers.

    Attributes:
        integers: int8, of the weight's shape.
        scales: float32, one per channel or one, in a shape that broadcasts to the weight.
    """

    integers: np.ndarray
    scales: np.ndarray

    def values(self, dtype: np.dtype) -> np.ndarray:
        """The weight as a DequantizeLinear makes it."""
        found: np.ndarray = (self.integers.astype(np.float32) * self.scales).astype(dtype)
        return found


class LayerRun:
    """Runs a layer of the quantized graph with weights of one's choice, from what waits in its chain.

    Args:
        layer: the layer.
        chain: the quantized graph, advanced to all that the layer and its activation read.
        weight: any values of the weight, for their type.
    """

    def __init__(self, layer: RoundedLayer, chain: Chain, weight: np.ndarray) -> None:
        self._layer, self._chain = layer, chain
        given = f"{layer.weight.tensor}@rounded"
        self._given = given
        rewired = {(layer.name, layer.weight.read.index): given}
        first = chain.feeds(0)
        first[given] = weight
        linear = self._free([chain.position(name) for name in layer.linear])
        self._linear = Step(chain.graph, linear, [layer.before_activation], first, chain.options, rewired)
        self._activation: Step | None = None
        if layer.activation:
            before = self._linear.run(first)[0]
            nodes = chain.with_free([chain.position(name) for name in layer.activation])
            feeds = {layer.before_activation: before}
            self._activation = Step(chain.graph, nodes, [layer.output], feeds, chain.options)

    def _free(self, nodes: Sequence[int]) -> list[int]:
        """The nodes with all that is made where they read it, but for the weight."""
        chain, layer = self._chain, self._layer
        weight = chain.graph.nodes[chain.position(layer.name)].input[layer.weight.read.index]
        return [at for at in chain.with_free(nodes) if weight not in chain.graph.nodes[at].output]

    def by(self, weight: np.ndarray) -> WeightedRun:
        """The layer with some values of the weight."""
        return WeightedRun(self, weight)

    def before_activation(self, sample: int, weight: np.ndarray) -> np.ndarray:
        """What the activation reads for a sample, bias and residual included."""
        feeds = self._chain.feeds(sample)
        feeds[self._given] = weight
        return self._linear.run(feeds)[0]

    def shifted(self, values: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """What the activation reads, with each channel shifted."""
        along = shift.reshape(-1, *[1] * (-1 - self._layer.channel_axis))
        found: np.ndarray = (values + along).astype(values.dtype)
        return found

    def activate(self, values: np.ndarray) -> np.ndarray:
        """What the activation makes of values laid out as the layer's output is."""
        if self._activation is None:
            return values
        return self._activation.run({self._layer.before_activation: values})[0]


class WeightedRun:
    """A layer that runs with one weight, more than once on a sample: what it computes is kept as far as there is room.

    Args:
        run: the layer.
        weight: the values of its weight.

    Attributes:
        activate: what the layer's activation makes of values laid out as its output is.
    """

    def __init__(self, run: LayerRun, weight: np.ndarray) -> None:
        self._run, self._weight = run, weight
        self._kept: dict[int, np.ndarray] = {}
        self._room = _KEPT_BYTES
        self.activate = run.activate

    def before_activation(self, sample: int) -> np.ndarray:
        """What the activation reads for a sample, bias and residual included; not the caller's to change."""
        found = self._kept.get(sample)
        if found is None:
            found = self._run.before_activation(sample, self._weight)
            if found.nbytes <= self._room:
                self._kept[sample] = found
                self._room -= found.nbytes
        return found

    def output(self, sample: int, shift: np.ndarray | None) -> np.ndarray:
        """What the layer's kernel writes for a sample, with each channel shifted in front of the activation."""
        values = self.before_activation(sample)
        return self.activate(values if shift is None else self._run.shifted(values, shift))


def find_codes(
    layer: RoundedLayer, codes: Codes, activations: Iterator[np.ndarray], counts: Sequence[int], limit: int
) -> Codes | None:
    """The layer's weights rounded by GPTQ.

    Args:
        layer: the layer.
        codes: its weights rounded to the nearest.
        activations: what it reads in the quantized net, as integers, stack by stack.
        counts: how many samples each stack holds.
        limit: the largest magnitude of an integer.

    Returns:
        None where the layer is not a product of rows and a matrix, or H is too large.
    """
    rows = layer.rows
    if rows is None or 8 * rows.groups * rows.columns**2 > _MOST_BYTES:
        return None
    most = min(max(_PER_COLUMN * rows.columns, _FEWEST_ROWS), _MOST_ROWS)
    covariance = Covariance(rows.groups, rows.columns)
    share, turn = -(-most // sum(counts)), 0
    for values, count in zip(activations, counts, strict=True):
        covariance.add(rows.rows(values, spread_over(rows.count(values), count, share, turn)))
        turn += count
    matrix = rows.matrix(layer.values.astype(np.float64) / codes.scales.astype(np.float64))
    rounded = round_rows(matrix, covariance.sums, limit)
    return Codes(rows.weight_of(rounded).astype(np.int8), codes.scales)


def shift_of(
    layer: RoundedLayer,
    run: WeightedRun,
    exact: Callable[[int], np.ndarray],
    samples: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray:
    """The shift of every channel of a layer's bias, float64[channels].

    Args:
        layer: the layer.
        run: runs it with its weights, dequantized.
        exact: stack -> the layer's output behind the activation in floating point.
        samples: the stacks to match on.
        counts: how many samples each of them holds.
    """
    taken, wanted = [], []
    rank, turn = 0, 0
    for sample, count in zip(samples, counts, strict=True):
        target = exact(sample)
        values = run.before_activation(sample)
        axis, rank = values.ndim + layer.channel_axis, values.ndim
        flat, flat_target = (
            np.moveaxis(each, axis, -1).reshape(-1, values.shape[axis]) for each in (values, target)
        )
        most = min(max(_PLACES_OF_ALL // values.shape[axis], _FEWEST_PLACES), _MOST_PLACES)
        places = spread_over(len(flat), count, -(-most // sum(counts)), turn)
        turn += count
        taken.append(flat[places])
        wanted.append(flat_target[places])
    axis = rank + layer.channel_axis
    found = find_shift(
        np.concatenate(taken),
        channel_means(np.concatenate(wanted)),
        lambda values: _flat(run.activate(_laid_out(values, axis, rank)), axis),
    )
    return np.where(np.isfinite(found), found, 0.0)


def _laid_out(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """[places, channels] with the channels on an axis, the places on another one, and all others of length 1."""
    shape = [1] * rank
    shape[axis] = values.shape[1]
    if axis == 0:
        shape[-1] = values.shape[0]
        return np.ascontiguousarray(values.T).reshape(shape)
    shape[0] = values.shape[0]
    return values.reshape(shape)


def _flat(values: np.ndarray, axis: int) -> np.ndarray:
    if axis == 0:
        return values.reshape(values.shape[0], -1).T
    return values.reshape(values.shape[0], -1)


def error_power(found: np.ndarray, wanted: np.ndarray) -> float:
    """The sum of squared differences of two arrays, in float64; values that are not finite are left out."""
    error = found.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):
        error -= wanted.astype(np.float64, copy=False).ravel()
        power = float(np.einsum("i,i->", error, error))
    if not math.isfinite(power):
        finite = error[np.isfinite(error)]
        power = float(np.einsum("i,i->", finite, finite))
    return power
