"""scikit-learn's handwritten digits as image files hold them, split into training, calibration and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

__all__ = ["Digits", "split_digits"]

SEED = 20
TEST, CALIBRATION = 240, 128


@dataclass(frozen=True)
class Digits:
    """Pixels are uint8 [N, 8, 8], labels int64 [N]; `rows` are row numbers in scikit-learn's data set."""

    pixels: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def take(self, rows: np.ndarray) -> Digits:
        return Digits(self.pixels[rows], self.labels[rows], self.rows[rows])

    def stems(self) -> list[str]:
        return [f"{row:04d}_digit{label}" for row, label in zip(self.rows, self.labels, strict=True)]

    def features(self) -> np.ndarray:
        """float32 [N, 64] in 0..1, to the bit what the default image preprocessing makes of the PNG files."""
        return self.pixels.reshape(len(self.rows), 64).astype(np.float32) * np.float32(1 / 255)


def split_digits() -> tuple[Digits, Digits, Digits]:
    """Training, calibration (drawn from training) and test digits, in the data set's own order."""
    source = load_digits()
    pixels = np.rint(source.images * (255 / 16)).astype(np.uint8)  # 17 grey levels, 0 to 16
    whole = Digits(pixels, source.target.astype(np.int64), np.arange(len(pixels)))
    order = np.random.default_rng(SEED).permutation(len(pixels))
    test, train = np.sort(order[:TEST]), np.sort(order[TEST:])
    calibration = np.sort(order[TEST : TEST + CALIBRATION])
    return whole.take(train), whole.take(calibration), whole.take(test)
