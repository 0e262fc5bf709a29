"""The weighted operators: what is particular about each, answered here and nowhere else.

To add one, write its class, unless one of these fits, and its line in WEIGHTED. Folding, fused groups, Q/DQ
placement and the budget of a search ask the description; none of them names an op.

The descriptions are pure functions of attributes and shapes. `slot` is the input that holds the weight.
"""

# ruff: noqa: ARG002 (an answer need not depend on everything that may be asked for it)

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["WEIGHTED", "WEIGHTED_NAMES", "WeightedOp"]

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class WeightedOp(ABC):
    """One weighted operator, which TensorRT runs as an INT8 kernel.

    Attributes:
        convolution: its weight is a kernel for each pair of channels, perhaps in groups; else it is a matrix,
            or a stack of matrices.
        weight_inputs: the inputs that may hold the weight.
        bias_input: the input that is added to the result; None without one.
        bias_factor: the attribute that the bias is multiplied by; empty without one.
        obsolete_attribute: an attribute of opsets below 7, under which the op means something else.
    """

    convolution: bool = False
    weight_inputs: tuple[int, ...] = (1,)
    bias_input: int | None = 2
    bias_factor: str = ""
    obsolete_attribute: str = ""

    @abstractmethod
    def weight_axis(self, attributes: Mapping[str, Any], slot: int, rank: int) -> int | None:
        """The axis of the weight that counts output channels; None when a weight of this rank has none."""

    @abstractmethod
    def channels(self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int]) -> tuple[int, int]:
        """How many input and output channels a weight of this shape has, those of all groups together."""

    @abstractmethod
    def output_axes(self, slot: int, rank: int | None) -> tuple[int, ...]:
        """The channel axis of the result, counted from the end.

        Args:
            slot: the input that holds the weight.
            rank: the weight's number of axes. Where it is not known there may be several answers.
        """

    @abstractmethod
    def multiply_adds(
        self, left: Sequence[int] | None, right: Sequence[int] | None, output: Sequence[int] | None
    ) -> int | None:
        """The multiply-adds of one run, from the shapes of inputs and output; None where too few are known."""

    def output_rank(self, weight: int, output: int | None) -> int | None:
        """The result's number of axes, from that of the weight and what the graph says of the output."""
        return weight

    def along_weight(
        self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int], values: np.ndarray
    ) -> np.ndarray:
        """One value per output channel, in a shape that broadcasts to the weight."""
        along = [1] * len(weight)
        axis = self.weight_axis(attributes, slot, len(weight))
        assert axis is not None, "only a weight with channels has values for each"
        along[axis] = -1
        return values.reshape(along)

    def is_gemv(
        self, attributes: Mapping[str, Any], left: Sequence[object] | None, right: Sequence[object] | None
    ) -> bool:
        """Whether it multiplies a matrix by one vector, whatever the batch is.

        A dimension that is unknown or symbolic is not 1. All leading dimensions of the left operand count as rows when
        the right one is a plain matrix, because the product is then one matrix product over all of them; one row is
        then a batch of 1, and the layer is treated as at every other batch: what it reads is mostly weights, and INT8
        quarters them.

        Args:
            attributes: of the node.
            left: shape of the first operand, None where it is not known.
            right: of the second.
        """
        return False


@dataclass(frozen=True)
class _Conv(WeightedOp):
    """[out, in / group, *kernel]."""

    convolution: bool = True

    def weight_axis(self, attributes: Mapping[str, Any], slot: int, rank: int) -> int | None:
        return 0

    def channels(self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int]) -> tuple[int, int]:
        return weight[1] * _groups(attributes), weight[0]

    def output_axes(self, slot: int, rank: int | None) -> tuple[int, ...]:
        return (-2, -3, -4) if rank is None else (1 - rank,)

    def multiply_adds(
        self, left: Sequence[int] | None, right: Sequence[int] | None, output: Sequence[int] | None
    ) -> int | None:
        # Each value of the output is a sum over the kernel and the input channels of its group.
        return None if right is None or output is None else math.prod(output) * math.prod(right[1:])


@dataclass(frozen=True)
class _ConvTranspose(_Conv):
    """[in, out / group, *kernel]."""

    def weight_axis(self, attributes: Mapping[str, Any], slot: int, rank: int) -> int | None:
        return 1

    def channels(self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int]) -> tuple[int, int]:
        return weight[0], weight[1] * _groups(attributes)

    def multiply_adds(
        self, left: Sequence[int] | None, right: Sequence[int] | None, output: Sequence[int] | None
    ) -> int | None:
        # Each value of the input goes to the kernel's places in the output channels of its group.
        return None if left is None or right is None else math.prod(left) * math.prod(right[1:])

    def along_weight(
        self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int], values: np.ndarray
    ) -> np.ndarray:
        # The inputs of one group make the outputs of that group only.
        groups = _groups(attributes)
        rows = np.repeat(values.reshape(groups, -1), weight[0] // groups, axis=0)
        return rows.reshape(*rows.shape, *[1] * (len(weight) - 2))


@dataclass(frozen=True)
class _Product(WeightedOp):
    """Rows times columns: [in, out] on the right side, [out, in] on the left one."""

    def weight_axis(self, attributes: Mapping[str, Any], slot: int, rank: int) -> int | None:
        if rank < 2:
            return None
        return rank - 2 if self._is_transposed(attributes, slot) == (slot == 1) else rank - 1

    def channels(self, attributes: Mapping[str, Any], slot: int, weight: Sequence[int]) -> tuple[int, int]:
        rows, columns = weight[-2:]
        return (rows, columns) if self.weight_axis(attributes, slot, 2) == 1 else (columns, rows)

    def output_axes(self, slot: int, rank: int | None) -> tuple[int, ...]:
        return (-1,) if slot == 1 else (-2,)

    def multiply_adds(
        self, left: Sequence[int] | None, right: Sequence[int] | None, output: Sequence[int] | None
    ) -> int | None:
        if right is None or output is None:
            return None
        # Every row of the output is a row of the left times all of a right matrix, transposed or not.
        rows = output if len(right) < 2 else output[:-1]
        return math.prod(rows) * math.prod(right[-2:])

    def is_gemv(
        self, attributes: Mapping[str, Any], left: Sequence[object] | None, right: Sequence[object] | None
    ) -> bool:
        if any(side is not None and len(side) == 1 for side in (left, right)):
            return True
        if right is None or len(right) < 2:
            return False
        return (right[-2] if self._is_transposed(attributes, 1) else right[-1]) == 1

    def _is_transposed(self, attributes: Mapping[str, Any], slot: int) -> bool:
        """Whether an operand is transposed before it is multiplied."""
        return False


@dataclass(frozen=True)
class _Gemm(_Product):
    """alpha * A * B + beta * C, either operand transposed or not."""

    bias_factor: str = "beta"
    obsolete_attribute: str = "broadcast"

    def _is_transposed(self, attributes: Mapping[str, Any], slot: int) -> bool:
        return bool(attributes.get("transB" if slot else "transA", 0))


@dataclass(frozen=True)
class _MatMul(_Product):
    """The product of the last two axes; the axes before them are broadcast."""

    weight_inputs: tuple[int, ...] = (0, 1)
    bias_input: int | None = None

    def output_rank(self, weight: int, output: int | None) -> int | None:
        return output

    def is_gemv(
        self, attributes: Mapping[str, Any], left: Sequence[object] | None, right: Sequence[object] | None
    ) -> bool:
        if super().is_gemv(attributes, left, right):
            return True
        return left is not None and right is not None and len(left) > 1 and len(right) > 2 and left[-2] == 1


def _groups(attributes: Mapping[str, Any]) -> int:
    return int(attributes.get("group", 1))


# By op type, with "domain:" before it for an op that is not one of ONNX's own (`view.kind`).
WEIGHTED: Mapping[str, WeightedOp] = {
    "Conv": _Conv(),
    "ConvTranspose": _ConvTranspose(),
    "Gemm": _Gemm(),
    "MatMul": _MatMul(),
}

WEIGHTED_NAMES = f"{', '.join([*WEIGHTED][:-1])} or {[*WEIGHTED][-1]}"
"""The weighted operators, for messages."""
