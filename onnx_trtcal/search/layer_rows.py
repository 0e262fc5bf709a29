"""A layer as rows times a matrix: what it reads as rows of values, its weights as one row per output channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

__all__ = ["ConvolutionRows", "ProductRows", "Rows", "rows_of", "spread", "spread_over"]


@dataclass(frozen=True)
class ConvolutionRows:
    """A Conv of any number of spatial axes.

    Attributes:
        weight: shape of its weight, [out, in / groups, *kernel].
        groups: of the channels.
        strides, dilations: one per spatial axis.
        pads: before each spatial axis, then behind each; None where `auto_pad` says.
        auto_pad: as in ONNX.
    """

    weight: tuple[int, ...]
    groups: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    auto_pad: str

    @property
    def columns(self) -> int:
        """Values per row."""
        return math.prod(self.weight[1:])

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """[groups, out / groups, columns]."""
        return weight.reshape(self.groups, -1, self.columns)

    def weight_of(self, matrix: np.ndarray) -> np.ndarray:
        """The weight whose `matrix` this is."""
        return matrix.reshape(self.weight)

    def count(self, values: np.ndarray) -> int:
        """The number of rows in what the layer reads."""
        return int(values.shape[0]) * math.prod(self._output(values.shape[2:]))

    def rows(self, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """float32[groups, rows, columns].

        Args:
            values: what the layer reads, [items, channels, *spatial].
            wanted: numbers of rows.
        """
        spatial = values.shape[2:]
        before = self._pads(spatial)
        output = self._output(spatial)
        item, *places = np.unravel_index(wanted, (values.shape[0], *output))
        kernel = self.weight[2:]
        found = np.zeros((len(wanted), values.shape[1], math.prod(kernel)), np.float32)
        for number, offset in enumerate(np.ndindex(*kernel)):
            at = [
                place * stride - pad + step * dilation
                for place, stride, pad, step, dilation in zip(
                    places, self.strides, before, offset, self.dilations, strict=True
                )
            ]
            inside = np.all([(a >= 0) & (a < size) for a, size in zip(at, spatial, strict=True)], axis=0)
            read = tuple(a[inside] for a in at)
            found[inside, :, number] = values[(item[inside], slice(None), *read)]
        return found.reshape(len(wanted), self.groups, self.columns).transpose(1, 0, 2)

    def _extents(self) -> list[int]:
        return [
            (size - 1) * dilation + 1 for size, dilation in zip(self.weight[2:], self.dilations, strict=True)
        ]

    def _output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        axes = len(spatial)
        if self.auto_pad.startswith("SAME"):
            return tuple(-(-size // stride) for size, stride in zip(spatial, self.strides, strict=True))
        pads = self.pads or (0,) * (2 * axes)
        return tuple(
            (spatial[k] + pads[k] + pads[k + axes] - extent) // self.strides[k] + 1
            for k, extent in enumerate(self._extents())
        )

    def _pads(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Before each axis."""
        if not self.auto_pad.startswith("SAME"):
            return (self.pads or (0,) * len(spatial))[: len(spatial)]
        found = []
        for size, stride, extent in zip(spatial, self.strides, self._extents(), strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            found.append(total // 2 if self.auto_pad == "SAME_UPPER" else total - total // 2)
        return tuple(found)


@dataclass(frozen=True)
class ProductRows:
    """A Gemm or MatMul with a matrix for a weight.

    Attributes:
        weight: shape of the weight.
        channels_last: whether the weight is [in, out]; else [out, in].
        sums_last: whether the last axis of what it reads is summed over; else the one before.
    """

    weight: tuple[int, ...]
    channels_last: bool
    sums_last: bool
    groups: int = 1

    @property
    def columns(self) -> int:
        """Values per row."""
        return self.weight[0 if self.channels_last else 1]

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """[1, out, in]."""
        return (weight.T if self.channels_last else weight)[None]

    def weight_of(self, matrix: np.ndarray) -> np.ndarray:
        """The weight whose `matrix` this is."""
        return np.ascontiguousarray(matrix[0].T if self.channels_last else matrix[0])

    def count(self, values: np.ndarray) -> int:
        """The number of rows in what the layer reads."""
        return int(values.size) // self.columns

    def rows(self, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """float32[1, rows, columns]; see ConvolutionRows."""
        last = values if self.sums_last or values.ndim < 2 else values.swapaxes(-1, -2)
        taken: np.ndarray = last.reshape(-1, self.columns)[wanted].astype(np.float32)
        return taken[None]


Rows = ConvolutionRows | ProductRows


def rows_of(node: gs.Node, slot: int, weight: tuple[int, ...]) -> Rows | None:
    """How a layer is rows times a matrix; None for a ConvTranspose, and for a product with a stack of matrices.

    Args:
        node: the layer.
        slot: the input that holds the weight.
        weight: its shape.
    """
    attributes = node.attrs
    if node.op == "Conv":
        return _convolution(attributes, weight)
    if node.op not in ("Gemm", "MatMul") or len(weight) != 2:
        return None
    flags = ("transA", "transB")
    transposed = [node.op == "Gemm" and bool(attributes.get(flag, 0)) for flag in flags]
    # The right operand's rows are summed over, the left one's columns.
    channels_last = not transposed[1] if slot == 1 else transposed[0]
    sums_last = not transposed[0] if slot == 1 else transposed[1]
    return ProductRows(weight, channels_last, sums_last)


def _convolution(attributes: Mapping[str, Any], weight: tuple[int, ...]) -> ConvolutionRows:
    axes = len(weight) - 2
    pads = attributes.get("pads")
    return ConvolutionRows(
        weight,
        int(attributes.get("group", 1)),
        tuple(attributes.get("strides", (1,) * axes)),
        tuple(attributes.get("dilations", (1,) * axes)),
        None if pads is None else tuple(pads),
        str(attributes.get("auto_pad", "NOTSET")),
    )


def spread(count: int, most: int, turn: int) -> np.ndarray:
    """Numbers below `count`, at most `most` of them, evenly spaced; each `turn` begins somewhere else."""
    if count <= most:
        return np.arange(count)
    # Multiples of the golden ratio fill the unit interval evenly.
    phase = (turn * 0.6180339887498949) % 1.0
    return ((np.arange(most) + phase) * (count / most)).astype(np.int64)


def spread_over(count: int, items: int, most: int, turn: int) -> np.ndarray:
    """The same for items that lie one after another, each with a turn of its own.

    Args:
        count: how many numbers there are for all items.
        items: how many items; where they do not divide the numbers evenly, they count as one.
        most: so many numbers of an item at most.
        turn: of the first item.
    """
    each, left = divmod(count, items)
    if left:
        return spread(count, most * items, turn)
    return np.concatenate([spread(each, most, turn + at) + at * each for at in range(items)])
