"""How far arrays are from what they should be, added up sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_trtcal.support.jit import compiled

__all__ = ["Distance", "decibels"]


@dataclass
class Distance:
    """Sums over pairs of values x (expected) and y (got); pairs with NaN or Inf are only counted.

    Samples are added one by one in float64, so that the result does not depend on how they were batched.

    Attributes:
        signal: sum of x².
        noise: sum of (x - y)².
        dot: sum of x y.
        power: sum of y².
        max_error: largest |x - y|.
        nonfinite: pairs with NaN or Inf.
        values: all other pairs.
    """

    signal: float = 0.0
    noise: float = 0.0
    dot: float = 0.0
    power: float = 0.0
    max_error: float = 0.0
    nonfinite: int = 0
    values: int = 0

    def add(self, expected: np.ndarray, got: np.ndarray, rows: int | None = None) -> None:
        """Adds two arrays of one shape.

        Args:
            expected: of any float type.
            got: of any float type.
            rows: how many rows of axis 0 to add, each as a sample; None adds the whole arrays as one sample.
        """
        if rows is None:
            self._add(_flat(expected), _flat(got))
            return
        for row in range(rows):
            self._add(_flat(expected[row]), _flat(got[row]))

    def _add(self, expected: np.ndarray, got: np.ndarray) -> None:
        signal, noise, dot, power, max_error, nonfinite = _sums(expected, got)
        self.signal += signal
        self.noise += noise
        self.dot += dot
        self.power += power
        self.max_error = max(self.max_error, max_error)
        self.nonfinite += nonfinite
        self.values += expected.size - nonfinite

    @property
    def sqnr(self) -> float:
        """10 log10(signal / noise) in dB; inf where nothing differs, -inf where every expected value is 0."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine similarity; 1.0 where both are zero, 0.0 where only one is."""
        if self.signal == 0 and self.power == 0:
            return 1.0
        if self.signal == 0 or self.power == 0:
            return 0.0
        return max(-1.0, min(self.dot / math.sqrt(self.signal) / math.sqrt(self.power), 1.0))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) in dB; inf without noise, -inf with nothing but noise."""
    if noise == 0:
        return math.inf
    return 10 * (math.log10(signal) - math.log10(noise)) if signal > 0 else -math.inf


def _flat(array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    return np.ascontiguousarray(array).reshape(-1)


@compiled
def _sums(expected: Any, got: Any) -> Any:
    signal, noise, dot, power, worst, nonfinite = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for i in range(expected.size):
        x, y = np.float64(expected[i]), np.float64(got[i])
        if not (np.isfinite(x) and np.isfinite(y)):
            nonfinite += 1
            continue
        difference = x - y
        signal += x * x
        noise += difference * difference
        dot += x * y
        power += y * y
        worst = max(worst, abs(difference))
    return signal, noise, dot, power, worst, nonfinite
