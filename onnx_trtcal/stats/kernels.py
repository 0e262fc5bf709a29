"""The compiled loops that count an array into bins.

Importing this module imports numba: import it when counting starts. An array is read in blocks that stay in
the first-level cache. Loops over a block vectorize, save the last, which adds to four interleaved sets of
bins so that equal neighbours do not wait for each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_trtcal.support.jit import compiled

__all__ = ["BLOCK", "LANES", "count", "fold", "fold_block", "largest"]

BLOCK = 4096
LANES = 4
INF = 0x7F800000  # float32 bit pattern of infinity; larger ones are NaN
FLOAT16_RANGE = 0x47800000  # of 2**16, what float16's infinity is widened to


@compiled
def count(  # noqa: C901, PLR0913 (one loop nest over plain arguments, which numba passes for free)
    bits: Any, start: Any, shift: Any, half: Any, below: Any, up: Any, down: Any, last: Any, limit: Any,
    stride: Any, lanes: Any, words: Any, floats: Any, places: Any, state: Any,
) -> Any:  # fmt: skip
    """Counts bits[start:] and returns the position of the first block holding a finite value above `limit`.

    `state` is uint64 [largest bit pattern, zeros, NaN, Inf] and is added to. Zeros are counted in bin 0,
    too. `words` and `floats` are one buffer, seen as uint32 and as float32.
    """
    mask = np.uint32(0x7FFFFFFF) if bits.itemsize == 4 else np.uint32(0x7FFF)
    zero, one = np.uint32(0), np.uint32(1)
    infinity, float16_range = np.uint32(INF), np.uint32(FLOAT16_RANGE)
    second, third, fourth = np.uint32(stride), np.uint32(2 * stride), np.uint32(3 * stride)
    begin = start
    while begin < bits.size:
        block = bits[begin : begin + BLOCK]
        size = block.size
        for i in range(size):
            words[i] = (np.uint32(block[i]) & mask) << shift
        if half:
            # Multiplying changes the exponent's bias and makes float16's subnormals normal, exactly.
            for i in range(size):
                floats[i] *= np.float32(2.0**112)
            for i in range(size):
                words[i] += np.uint32(words[i] >= float16_range) * (infinity - float16_range)
        top, zeros = zero, zero
        for i in range(size):
            word = words[i]
            top = word if word > top else top
            zeros += np.uint32(word == zero)
        kept = size
        nan, inf = 0, 0
        if top >= infinity:
            top, kept = zero, 0
            for i in range(size):
                word = words[i]
                if word > infinity:
                    nan += 1
                elif word == infinity:
                    inf += 1
                else:
                    top = max(top, word)
                    words[kept] = word
                    kept += 1
        state[0] = max(state[0], np.uint64(top))
        if top > limit:
            return begin
        state[1] += np.uint64(zeros)
        state[2] += np.uint64(nan)
        state[3] += np.uint64(inf)
        # With below = 1 a value is replaced by the float32 below it: bins are then closed above.
        for i in range(kept):
            words[i] -= np.uint32(words[i] != zero) & below
        for i in range(kept):
            places[i] = min(np.uint32(np.int32(floats[i] * up / down)), last)
        fours = kept - kept % LANES
        for i in range(0, fours, LANES):
            lanes[places[i]] += one
            lanes[places[i + 1] + second] += one
            lanes[places[i + 2] + third] += one
            lanes[places[i + 3] + fourth] += one
        for i in range(fours, kept):
            lanes[places[i]] += one
        begin += size
    return begin


@compiled
def fold(lanes: Any, stride: Any, bins: Any, counts: Any) -> None:
    """Adds the lanes in use to int64 counts[bins] and clears them."""
    for i in range(bins):
        counts[i] += np.int64(lanes[i])
        lanes[i] = 0
    if stride > 0:
        for lane in range(1, LANES):
            for i in range(bins):
                counts[i] += np.int64(lanes[lane * stride + i])
                lanes[lane * stride + i] = 0


@compiled
def fold_block(lanes: Any, places: Any, counts: Any) -> None:
    """Adds the first lane to int64 counts and clears it, where it was given the places of one block."""
    for place in places:
        counts[place] += np.int64(lanes[place])
        lanes[place] = 0


@compiled
def largest(bits: Any, shift: Any, half: Any) -> Any:
    """The largest bit pattern of a finite magnitude, not widened."""
    mask = np.uint32(0x7FFFFFFF) if bits.itemsize == 4 else np.uint32(0x7FFF)
    infinity = np.uint32(0x7C00) if half else np.uint32(INF) >> shift
    top = np.uint32(0)
    for begin in range(0, bits.size, BLOCK):
        block = bits[begin : begin + BLOCK]
        here = np.uint32(0)
        for i in range(block.size):
            word = np.uint32(block[i]) & mask
            here = word if word > here else here
        if here >= infinity:
            here = np.uint32(0)
            for i in range(block.size):
                word = np.uint32(block[i]) & mask
                if word < infinity:
                    here = max(here, word)
        top = max(top, here)
    return top
