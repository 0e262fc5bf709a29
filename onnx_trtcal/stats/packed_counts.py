"""Counts of a histogram as bytes, few where bins are empty.

The bins stand in groups of 64, each group with as many hexadecimal digits as its largest count has.
First those numbers of digits, four bits each (so a count stays below 16**15); then the lowest digits of all
groups that have one, then the second lowest of those that have two, and so on; two digits to a byte, the
first in the low half. Empty groups cost four bits. No general compressor is used: zlib's output differs
between its implementations.
"""

from __future__ import annotations

import numpy as np

__all__ = ["pack", "packed_size", "unpack"]

_GROUP = 64
_MOST_DIGITS = 15


def pack(counts: np.ndarray) -> bytes:
    """The counts of a histogram, int64[bins], as bytes; equal counts give equal bytes."""
    groups, digits = counts.reshape(-1, _GROUP), _digits(counts)
    parts = [_pair(digits)]
    for digit in range(int(digits.max())):
        groups, digits = groups[digits > digit], digits[digits > digit]
        parts.append(_pair(((groups >> (4 * digit)) & 15).astype(np.uint8).ravel()))
    return b"".join(parts)


def packed_size(counts: np.ndarray) -> int:
    """How many bytes `pack` makes of counts."""
    digits = _digits(counts)
    return (len(digits) + _GROUP * int(digits.sum(dtype=np.int64))) // 2


def unpack(data: memoryview, bins: int) -> np.ndarray:
    """The counts, int64[bins], that `pack` made these bytes of.

    Raises:
        ValueError: when it made them of another number of bins, or did not make them.
    """
    table = bins // _GROUP // 2
    digits = _unpair(np.frombuffer(data[:table], np.uint8))
    groups = np.zeros((len(digits), _GROUP), np.int64)
    begin = table
    for digit in range(int(digits.max())):
        here = digits > digit
        size = int(here.sum()) * _GROUP // 2
        values = _unpair(np.frombuffer(data[begin : begin + size], np.uint8)).reshape(-1, _GROUP)
        groups[here] |= values.astype(np.int64) << (4 * digit)
        begin += size
    if begin != len(data) or groups.size != bins:
        raise ValueError(f"{len(data)} bytes of counts where {begin} are used")
    return groups.ravel()


def _digits(counts: np.ndarray) -> np.ndarray:
    """How many digits the largest count of each group has."""
    largest = counts.reshape(-1, _GROUP).max(axis=1)
    digits = np.zeros(len(largest), np.uint8)
    for digit in range(_MOST_DIGITS):
        digits += (largest >> (4 * digit)) > 0
    return digits


def _pair(digits: np.ndarray) -> bytes:
    packed: np.ndarray = digits[0::2] | digits[1::2] << 4
    return packed.tobytes()


def _unpair(pairs: np.ndarray) -> np.ndarray:
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()
