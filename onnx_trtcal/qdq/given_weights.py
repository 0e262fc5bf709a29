"""Weights whose integers, scales or biases were found by a search, for a Q/DQ model to be written with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

__all__ = ["GivenBias", "GivenWeights"]


@dataclass(frozen=True)
class GivenBias:
    """A bias that replaces the one a layer has, or gives it one.

    Attributes:
        index: the input of the node that holds it.
        value: the bias.
    """

    index: int
    value: np.ndarray


@dataclass(frozen=True)
class GivenWeights:
    """What is written in place of max|w| / 127, of the nearest integers, and of the float model's biases.

    Attributes:
        scales: weight -> its scales, float32, one per channel; others get those of `weight_scales`.
        integers: weight -> int8 of its shape; others are rounded to the nearest.
        biases: first output of a node -> the bias it is to read.
    """

    scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    integers: Mapping[str, np.ndarray] = field(default_factory=dict)
    biases: Mapping[str, GivenBias] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.scales or self.integers or self.biases)
