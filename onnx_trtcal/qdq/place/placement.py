"""A placement as plain data: the tensors and weights that get a Q/DQ pair, and why a layer has none.

Kept apart from the rules in `place`, because the writer, the search and the evaluation need only the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.qdq.place.mixed_concats import MixedConcat

__all__ = ["Activation", "Placement", "Read", "Tie", "Weight"]


@dataclass(frozen=True)
class Read:
    """One input of a node; the node is identified by its first output."""

    node: str
    index: int


@dataclass(frozen=True)
class Activation:
    """A pair on `tensor`, whose DQ output feeds `reads` and nothing else."""

    tensor: str
    reads: tuple[Read, ...]


@dataclass(frozen=True)
class Weight:
    """A constant operand of a layer.

    Attributes:
        read: the layer's input.
        tensor: the constant.
        axis: there is a scale per slice along it; one scale where it is None.
        stays_float: whether it is stored as float with Q and DQ, and not as INT8 with DQ.
    """

    read: Read
    tensor: str
    axis: int | None
    stays_float: bool = False


@dataclass(frozen=True)
class Tie:
    """Tensors with pairs that must share one scale: the largest scale among `leaders`, which are some of them."""

    tensors: tuple[str, ...]
    leaders: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ pairs go. A layer is a Conv, ConvTranspose, Gemm or MatMul.

    Attributes:
        activations: one per tensor that carries a pair, in graph order of their first use.
        weights: one per quantized constant operand, in graph order.
        quantized: first outputs of the layers whose two inputs are quantized.
        left: first output of a layer that stays in floating point -> why.
        float_skips: first output of a quantized layer's residual Add whose skip input has no pair -> why.
        ties: sets of tensors that share a scale.
        unmatched: patterns of `exclude` that no node matches.
        lifted: first output of an op that only moves values and reads a pair on behalf of others -> the reads,
            behind it, of the ops that run in INT8 because of that.
        mixed: the Concats whose branches keep their own scales, because they lie too far apart for one.
        mixed_readers: output of such a Concat -> first outputs of the layers that read it in INT8, with its one scale.
    """

    activations: tuple[Activation, ...]
    weights: tuple[Weight, ...]
    quantized: tuple[str, ...]
    left: Mapping[str, str]
    float_skips: Mapping[str, str]
    ties: tuple[Tie, ...]
    unmatched: tuple[str, ...] = ()
    lifted: Mapping[str, tuple[Read, ...]] = field(default_factory=dict)
    mixed: tuple[MixedConcat, ...] = ()
    mixed_readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of layers that are quantized, 0 to 1; 0 for a model that has none."""
        return len(self.quantized) / max(len(self.quantized) + len(self.left), 1)
