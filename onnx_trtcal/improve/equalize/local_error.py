"""What INT8 costs one layer: the error of its output when what it reads and its weights are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.improve.equalize.patches import LayerShape, drawn_rows
from onnx_trtcal.qdq.weight_scales import quantize_weight, weight_scales
from onnx_trtcal.scales import QUANTIZED_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.improve.equalize.roles import Reader

__all__ = ["LayerError", "along_inputs"]

# Values of the rows that a layer's error is measured on, and multiply-adds for one measurement.
_MOST_VALUES = 1 << 19
_MOST_PRODUCTS = 1 << 28
_MOST_ROWS = 512
# A channel with less than this share of the mean power counts as if it had that.
_FAINT = 1e-4


@dataclass(frozen=True, eq=False)
class LayerError:
    """One layer, with rows that it multiplies on some samples.

    Attributes:
        reader: the layer.
        weight: as stored.
        amax: the magnitude of each input channel.
        rows: float32, [rows, input channels, taps].
        exact: what the layer makes of them, float64, [groups, rows, outputs of a group].
    """

    reader: Reader
    weight: np.ndarray
    amax: np.ndarray
    rows: np.ndarray
    exact: np.ndarray

    @classmethod
    def measured(
        cls, reader: Reader, weight: np.ndarray, amax: np.ndarray, samples: Sequence[Mapping[str, np.ndarray]]
    ) -> LayerError:
        """A layer and the rows that it multiplies on some samples, a few of each.

        Args:
            reader: the layer.
            weight: as stored.
            amax: the magnitude of each input channel.
            samples: what it reads on each of them, under the tensor's name.
        """
        shape = LayerShape.of(reader, weight)
        matrix = shape.matrix(reader, weight.astype(np.float64))
        most = min(
            _MOST_ROWS,
            _MOST_VALUES // max(shape.channels * shape.taps, 1),
            _MOST_PRODUCTS // max(matrix.size, 1),
        )
        each = max(most // max(len(samples), 1), 1)
        rows = np.concatenate([drawn_rows(reader, arrays[reader.tensor], weight, each) for arrays in samples])
        rows = np.nan_to_num(rows.astype(np.float32), copy=False, posinf=0.0, neginf=0.0)
        return cls(reader, weight, amax, rows, _product(shape, matrix, rows.astype(np.float64)))

    def relative(self, factors: np.ndarray) -> float:
        """Noise over signal of the layer's output channels, when channel c of what it reads is divided by factor c.

        The scale of what it reads covers the largest channel; weights have one scale per output channel. The mean is
        over the output channels, each by its own power: what reads them may be equalized, too, and then sees the
        small ones as well as the large ones.

        Args:
            factors: one per input channel.
        """
        signal = np.einsum("gno,gno->go", self.exact, self.exact)
        if not signal.any():
            return 0.0
        node, shape = self.reader.node, LayerShape.of(self.reader, self.weight)
        weight = self.weight.astype(np.float64) * along_inputs(self.reader, self.weight.shape, factors)
        axis = WEIGHTED[kind(node)].weight_axis(node.attrs, self.reader.slot, weight.ndim)
        scales = weight_scales(weight, axis).scales
        along = [1] * weight.ndim
        if axis is not None:
            along[axis] = -1
        coded = quantize_weight(weight, scales, axis) * scales.astype(np.float64).reshape(along)
        scale = (self.amax / factors).max(initial=0.0) / QUANTIZED_MAX or 1.0
        steps = self.rows / (factors[:, None] * scale)
        np.clip(np.rint(steps, out=steps), -QUANTIZED_MAX, QUANTIZED_MAX, out=steps)
        noise = _product(shape, shape.matrix(self.reader, coded * scale), steps) - self.exact
        floor = _FAINT * signal.mean()
        return float(np.mean(np.einsum("gno,gno->go", noise, noise) / np.maximum(signal, floor)))


def along_inputs(reader: Reader, weight: Sequence[int], factors: np.ndarray) -> np.ndarray:
    """One factor per input channel, in a shape that broadcasts to the weight."""
    op = WEIGHTED[kind(reader.node)]
    rank = len(weight)
    if not op.convolution:
        last = op.weight_axis(reader.node.attrs, reader.slot, rank) == rank - 1
        return factors.reshape(-1, 1) if last else factors
    spatial = [1] * (rank - 2)
    if reader.node.op == "ConvTranspose":
        return factors.reshape(-1, 1, *spatial)
    groups = int(reader.node.attrs.get("group", 1))
    rows = np.repeat(factors.reshape(groups, -1), weight[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *spatial)


def _product(shape: LayerShape, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows [n, channels, taps] times the matrix of each group: [groups, n, outputs]."""
    grouped = rows.reshape(len(rows), shape.groups, -1).transpose(1, 0, 2)
    found: np.ndarray = grouped @ matrix
    return found
