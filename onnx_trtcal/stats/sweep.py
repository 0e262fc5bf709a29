"""One array's way through the kernels: its bit patterns, and a sweep that can stop and resume."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from onnx_trtcal.stats import kernels
from onnx_trtcal.stats.kernels import BLOCK, LANES

__all__ = ["Bits", "Sweep", "bits_of", "largest"]

MANY = 1 << 15  # values from which four lanes gain more than adding them up costs
MOST_BINS = 1 << 15
LARGEST = 0x7F7FFFFF  # bit pattern of the largest finite float32


@dataclass(frozen=True)
class Bits:
    """An array's bit patterns, 1-D and contiguous, and how to widen them to float32's."""

    values: np.ndarray  # uint32[n] or uint16[n]
    shift: int
    half: bool  # float16: the exponent needs its bias changed after the shift


def bits_of(values: np.ndarray) -> Bits:
    """The bit patterns of a float32, float16 or bfloat16 array; a copy only if its memory has gaps."""
    flat = values.ravel(order="K")
    bits = flat.view(np.uint32 if flat.dtype == np.float32 else np.uint16)
    # numba compiles separately for read-only and writable arrays: all are passed to it as read-only.
    bits.flags.writeable = False
    half = flat.dtype == np.float16
    return Bits(bits, 13 if half else 0 if bits.itemsize == 4 else 16, half)


def largest(bits: Bits) -> float:
    """The largest finite magnitude of an array; 0.0 when it has none."""
    word = np.uint32(kernels.largest(bits.values, np.uint32(bits.shift), bits.half))
    if bits.half:
        return float(word.astype(np.uint16).view(np.float16))
    return float((word << np.uint32(bits.shift)).view(np.float32))


class _Buffers(threading.local):
    """What one thread counts with; the lanes are all zero between sweeps."""

    def __init__(self) -> None:
        self.lanes = np.zeros(LANES * MOST_BINS, np.uint32)
        self.words = np.empty(BLOCK, np.uint32)
        self.floats = self.words.view(np.float32)
        self.places = np.empty(BLOCK, np.uint32)


_buffers = _Buffers()


class Sweep:
    """Counts one array, in as many steps as its values need wider bins.

    Attributes:
        position: values read so far.
    """

    def __init__(self, bits: Bits) -> None:
        self._bits = bits
        self._state = np.zeros(4, np.uint64)
        self.position = 0

    @property
    def done(self) -> bool:
        """Whether every value is counted."""
        return self.position == self._bits.values.size

    @property
    def top(self) -> float:
        """The largest finite magnitude read, the block that stopped the last step included."""
        return float(self._state[:1].astype(np.uint32).view(np.float32)[0])

    @property
    def zeros(self) -> int:
        """How many of the values read are zero."""
        return int(self._state[1])

    @property
    def nan(self) -> int:
        """How many of the values read are NaN."""
        return int(self._state[2])

    @property
    def inf(self) -> int:
        """How many of the values read are +-Inf."""
        return int(self._state[3])

    def advance(
        self, counts: np.ndarray, width: float, *, closed_above: bool, limit: float | None = None
    ) -> None:
        """Adds values to int64 counts[bins] up to the block with a finite value above `limit`, or the end.

        A value x lies in bin ceil(x / width) - 1 when bins are closed above, else in floor(x / width), in
        float32; in the last bin at most; a zero in none. Where bins are closed above, width must be a
        power of two: the quotient is then exact, and x / width is above an integer exactly when the
        float32 below x has a quotient not below it.
        """
        begin, before = self.position, self._state.copy()
        buffers = _buffers
        rest = self._bits.values.size - begin
        stride = counts.size if rest >= MANY else 0
        # Both factors and the product stay among float32's normal numbers, so nothing is rounded but the
        # quotient; one that underflows lies in bin 0 all the same.
        up = 2.0**64 if width < 2.0**-79 else 1.0
        # Bins that float64 values made wider than float32 reaches hold every float32 in the first.
        down = width * up if width < 2.0**128 else math.inf
        self.position = kernels.count(
            self._bits.values, begin, np.uint32(self._bits.shift), self._bits.half, np.uint32(closed_above),
            np.float32(up), np.float32(down), np.uint32(counts.size - 1), _limit_bits(limit),
            stride, buffers.lanes, buffers.words, buffers.floats, buffers.places, self._state,
        )  # fmt: skip
        if self.position == begin:
            return
        _, zeros, nan, inf = (self._state - before).tolist()
        size = self.position - begin
        if size <= BLOCK and stride == 0:
            kernels.fold_block(buffers.lanes, buffers.places[: size - nan - inf], counts)
        else:
            kernels.fold(buffers.lanes, stride, counts.size, counts)
        counts[0] -= zeros


def _limit_bits(limit: float | None) -> np.uint32:
    if limit is None or limit >= 2.0**128:
        return np.uint32(LARGEST)
    return np.float32(limit).view(np.uint32)
