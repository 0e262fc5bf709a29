"""What a node does with per-channel factors: the places in a graph that can take them up.

A tensor x whose channels are divided by s holds x / s. Whatever makes it divides by s, and whatever reads it multiplies
by s, in constants that the graph has anyway (level `free`) or in a Mul of its own (level `full`). The channels of all
tensors are numbered; each number has one factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_graphsurgeon as gs

__all__ = ["Affine", "Inserted", "Maker", "Reader", "Role", "Scaling", "Shift", "Writer"]


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that multiplies its input channels by constant weights.

    Attributes:
        node: the layer.
        slot: the input that holds the weight; the other one of the first two is read.
        axis: the axis of what it reads along which it sums, counted from the end.
        ids: int64, one number per input channel.
    """

    node: gs.Node
    slot: int
    axis: int
    ids: np.ndarray

    @property
    def tensor(self) -> str:
        """What it reads."""
        return str(self.node.inputs[1 - self.slot].name)


@dataclass(frozen=True, eq=False)
class Writer:
    """A layer whose output channels its weights and bias scale: one number each."""

    node: gs.Node
    slot: int
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Affine:
    """A normalization that ends in constant scales and biases, at the inputs `at`: one number per element."""

    node: gs.Node
    at: tuple[int, ...]
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Shift:
    """Constants that are added to a tensor or compared with it; `ids` broadcasts to that."""

    node: gs.Node
    at: tuple[int, ...]
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Scaling:
    """A product with a constant at input `at`, or a quotient by it; the numbers broadcast to input and output."""

    node: gs.Node
    at: int
    read: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Inserted:
    """A Mul that is to be put behind a tensor; `ids` broadcasts to it."""

    tensor: str
    ids: np.ndarray


Maker = Writer | Affine | Scaling | Inserted
"""Those that can give the channels of what they make any factors."""

Role = Reader | Maker | Shift
