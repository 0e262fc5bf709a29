"""What a layer multiplies its weights with: rows of values, drawn from what it reads at some positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.improve.equalize.roles import Reader

__all__ = ["LayerShape", "drawn_rows"]


@dataclass(frozen=True)
class LayerShape:
    """How a layer's weight multiplies rows.

    Attributes:
        groups: independent groups of channels.
        channels: input channels of all groups.
        taps: values that each input channel has in a row: the size of the kernel.
    """

    groups: int
    channels: int
    taps: int

    @classmethod
    def of(cls, reader: Reader, weight: np.ndarray) -> LayerShape:
        """The shape of a layer with this weight."""
        op = WEIGHTED[kind(reader.node)]
        channels, _ = op.channels(reader.node.attrs, reader.slot, weight.shape)
        if not op.convolution:
            return cls(1, channels, 1)
        groups = int(reader.node.attrs.get("group", 1))
        transposed = reader.node.op == "ConvTranspose"
        return cls(groups, channels, 1 if transposed else int(np.prod(weight.shape[2:])))

    def matrix(self, reader: Reader, weight: np.ndarray) -> np.ndarray:
        """The weight as [groups, input channels of a group * taps, outputs of a group]."""
        if not WEIGHTED[kind(reader.node)].convolution:
            op = WEIGHTED[kind(reader.node)]
            last = op.weight_axis(reader.node.attrs, reader.slot, weight.ndim) == weight.ndim - 1
            return np.moveaxis(weight, -2 if last else -1, 0).reshape(1, self.channels, -1)
        if reader.node.op == "ConvTranspose":
            return weight.reshape(self.groups, self.channels // self.groups, -1)
        rows = weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        return rows.transpose(0, 2, 1)


def drawn_rows(reader: Reader, values: np.ndarray, weight: np.ndarray, most: int) -> np.ndarray:
    """Rows that a layer multiplies, [rows, input channels, taps], at evenly spaced positions of one sample.

    Args:
        reader: the layer.
        values: what it reads.
        weight: its weight, for the size of the kernel.
        most: so many rows at most.
    """
    node = reader.node
    if not WEIGHTED[kind(node)].convolution or node.op == "ConvTranspose":
        axis = 1 if node.op == "ConvTranspose" else reader.axis
        rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
        found: np.ndarray = rows[_spread(len(rows), most)][:, :, None]
        return found
    kernel = weight.shape[2:]
    strides, dilations, pads = _geometry(node, values.shape[2:], kernel)
    padded = np.pad(values, [(0, 0), (0, 0), *pads])
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    counts = [
        max((size - span) // stride + 1, 0)
        for size, span, stride in zip(padded.shape[2:], reach, strides, strict=True)
    ]
    chosen = _spread(len(values) * int(np.prod(counts)), most)
    item, *at = np.unravel_index(chosen, (len(values), *counts))
    index: list[np.ndarray | slice] = [item.reshape(-1, *[1] * len(kernel))]
    for axis, (where, stride, dilation, size) in enumerate(zip(at, strides, dilations, kernel, strict=True)):
        taps = np.arange(size).reshape([-1 if k == axis else 1 for k in range(len(kernel))]) * dilation
        index.append((where * stride).reshape(-1, *[1] * len(kernel)) + taps)
    # Positions first, then the kernel's axes, then channels.
    rows = np.moveaxis(padded, 1, -1)[tuple(index)]
    return np.moveaxis(rows.reshape(len(chosen), -1, values.shape[1]), 1, 2)


def _spread(count: int, most: int) -> np.ndarray:
    """Up to `most` of `count` places, evenly spaced; off the grid's own rhythm."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def _geometry(
    node: gs.Node, sizes: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations and padding of a Conv."""
    rank = len(kernel)
    strides = [int(each) for each in node.attrs.get("strides", [1] * rank)]
    dilations = [int(each) for each in node.attrs.get("dilations", [1] * rank)]
    given = [int(each) for each in node.attrs.get("pads", [0] * 2 * rank)]
    pads = list(zip(given[:rank], given[rank:], strict=True))
    automatic = node.attrs.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        pads = [(0, 0)] * rank
    elif automatic.startswith("SAME"):
        pads = []
        for size, stride, dilation, span in zip(sizes, strides, dilations, kernel, strict=True):
            short = max((-(-size // stride) - 1) * stride + dilation * (span - 1) + 1 - size, 0)
            small = short // 2
            pads.append((small, short - small) if automatic == "SAME_UPPER" else (short - small, small))
    return strides, dilations, pads
