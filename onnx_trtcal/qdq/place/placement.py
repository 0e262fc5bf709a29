"""Where Q/DQ pairs go, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Activation", "Placement", "Read", "Tie", "Weight"]


@dataclass(frozen=True)
class Read:
    """One input of a node; the node is named by its first output."""

    node: str
    index: int


@dataclass(frozen=True)
class Activation:
    """A pair on `tensor`, whose DQ output feeds `reads` and nothing else."""

    tensor: str
    reads: tuple[Read, ...]


@dataclass(frozen=True)
class Weight:
    """A constant operand with a scale per slice along `axis`, or one scale where `axis` is None."""

    read: Read
    tensor: str
    axis: int | None


@dataclass(frozen=True)
class Tie:
    """Tensors with pairs that must have one scale: the largest among those of `leaders`, some of them."""

    tensors: tuple[str, ...]
    leaders: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ pairs go.

    Attributes:
        activations: one per tensor that carries a pair, in graph order of their first use.
        weights: one per quantized constant operand, in graph order.
        quantized: first outputs of the weighted ops whose two inputs are quantized.
        left: first output of a weighted op that stays in floating point -> why.
        float_skips: first output of a quantized op's residual Add whose skip input has no pair -> why.
        ties: sets of tensors that share a scale.
        unmatched: patterns of `exclude` that no node matches.
        lifted: first output of an op that only moves values and reads a pair for others -> the reads, behind
            it, of the ops that run in INT8 because of that.
    """

    activations: tuple[Activation, ...]
    weights: tuple[Weight, ...]
    quantized: tuple[str, ...]
    left: Mapping[str, str]
    float_skips: Mapping[str, str]
    shared: tuple[Tie, ...]
    unmatched: tuple[str, ...] = ()
    lifted: Mapping[str, tuple[Read, ...]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of weighted ops that are quantized, 0 to 1; 0 for a model that has none."""
        return len(self.quantized) / max(len(self.quantized) + len(self.left), 1)
