"""How far a quantized net's outputs are from the float net's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OutputNoise", "power"]


def power(found: np.ndarray, wanted: np.ndarray | None = None) -> float:
    """The sum of squares of an array, or of its difference to another one; values that are not finite are left out."""
    error = found.astype(np.float64).ravel()
    if wanted is not None:
        error = error - wanted.astype(np.float64).ravel()
    finite = error[np.isfinite(error)]
    return float(np.einsum("i,i->", finite, finite))


class OutputNoise:
    """Noise and signal of some outputs, sample by sample.

    Args:
        outputs: how many there are.
    """

    def __init__(self, outputs: int) -> None:
        self._noise = np.zeros(outputs)
        self._signal = np.zeros(outputs)

    def add(self, wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
        """Adds a sample; outputs that are not floats do not count."""
        for at, (exact, array) in enumerate(zip(wanted, found, strict=True)):
            if exact.dtype.kind == "f" and exact.shape == array.shape:
                self._noise[at] += power(array, exact)
                self._signal[at] += power(exact)

    def relative(self) -> float:
        """The mean over the outputs of noise power over signal power."""
        some = self._signal > 0
        return float(np.mean(self._noise[some] / self._signal[some])) if some.any() else 0.0
