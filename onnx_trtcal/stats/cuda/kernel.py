"""The kernel that counts many device arrays into bins in one launch.

Importing this module imports numba's CUDA target. The arithmetic is that of `stats.kernels`, so equal values
give equal counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from onnx_trtcal.stats.cuda.fields import (
    ADDRESS,
    BY,
    FIRST,
    HIGH,
    INF,
    KIND,
    KINDS,
    LOW,
    NAN,
    PEAK,
    ROW,
    SIZE,
    TOP,
    UP,
    ZEROS,
)
from onnx_trtcal.stats.cuda.layout import TALLIES, Layout
from onnx_trtcal.support.jit import cuda_function, cuda_kernel

if TYPE_CHECKING:
    from onnx_trtcal.stats.cuda.memory_access import MemoryAccess

__all__ = ["make_count"]

FLOAT32, FLOAT16 = KINDS["float32"], KINDS["float16"]
PEAKS = 4  # in a block's tallies, after the columns of its state
INFINITY = 0x7F800000
AHEAD = 4  # reads that a thread has under way


def make_count(  # noqa: C901 (holds the kernel, which is one function)
    layout: Layout, memory: MemoryAccess
) -> Any:
    """The kernel `count(table, factors, closed_above, last, counts, state)`.

    A block counts up to `layout.span` values of one tensor. It adds the finite non-zero values within the
    tensor's bounds to uint32 counts[rows * (last + 1)], and what it saw of all its values to uint64
    state[tensors * 4]. `closed_above` and `last`, the number of the last bin, are uint32; blocks are as many
    as the tensors' spans together, each tensor's in a row from FIRST on.
    """
    slots, span, threads, words = layout.slots, layout.span, layout.threads, layout.words
    packed = 1 if layout.packed else 0
    read_word, read_half = memory.word, memory.half
    from_float16, as_float = memory.from_float16, memory.as_float

    @cuda_function
    def magnitude(kind: Any, bits: Any) -> Any:
        """The float32 bit pattern of the magnitude of a value of any kind."""
        if kind == FLOAT32:
            return np.uint32(bits & np.uint32(0x7FFFFFFF))
        if kind == FLOAT16:
            return np.uint32(from_float16(np.uint32(bits & np.uint32(0x7FFF))))
        return np.uint32(np.uint32(bits & np.uint32(0x7FFF)) << np.uint32(16))

    @cuda_function
    def place_of(word: Any, closed_above: Any, up: Any, by: Any, last: Any) -> Any:
        """The bin of a finite non-zero magnitude."""
        # The float32 below x has a quotient not below an integer exactly when x has one above it.
        scaled = as_float(np.uint32(word - closed_above)) * up
        quotient = scaled * by if closed_above else scaled / by
        return min(np.uint32(np.int32(quotient)), last)

    @cuda_kernel
    def count(  # noqa: C901 (its steps share the block's memory, which functions cannot be given for free)
        table: Any, factors: Any, closed_above: Any, last: Any, counts: Any, state: Any
    ) -> None:
        window = cuda.shared.array(words, np.uint32)
        tallies = cuda.shared.array(TALLIES, np.uint32)
        ahead = cuda.local.array(AHEAD, np.uint32)
        thread = cuda.threadIdx.x
        block = cuda.blockIdx.x
        used = min(words, (last >> packed) + 1)
        for i in range(thread, used, threads):
            window[i] = 0
        if thread < TALLIES:
            tallies[thread] = 0
        cuda.syncthreads()

        # The last tensor whose first block is not beyond this one.
        tensor, beyond = 0, table.shape[1]
        while beyond - tensor > 1:
            middle = (tensor + beyond) >> 1
            if table[FIRST, middle] <= block:
                tensor = middle
            else:
                beyond = middle
        begin = (block - table[FIRST, tensor]) * span
        size = min(table[SIZE, tensor] - begin, span)
        kind = table[KIND, tensor]
        address = table[ADDRESS, tensor] + begin * (4 if kind == FLOAT32 else 2)
        row = table[ROW, tensor] * (last + 1)
        low, high = np.uint32(table[LOW, tensor]), np.uint32(table[HIGH, tensor])
        peak = np.uint32(table[PEAK, tensor])
        up, by = factors[UP, tensor], factors[BY, tensor]

        top, zeros, nan, inf, peaks = np.uint32(0), 0, 0, 0, 0
        for base in range(thread, size, threads * AHEAD):
            # All reads first, without waiting for any; beyond the end the last value is read, and ignored.
            if kind == FLOAT32:
                for j in range(AHEAD):
                    position = min(base + j * threads, size - 1)
                    ahead[j] = read_word(np.uint64(address + 4 * position))
            else:
                for j in range(AHEAD):
                    position = min(base + j * threads, size - 1)
                    ahead[j] = read_half(np.uint64(address + 2 * position))
            for j in range(AHEAD):
                if base + j * threads >= size:
                    break
                word = magnitude(kind, ahead[j])
                if word == 0:
                    zeros += 1
                elif word < np.uint32(INFINITY):
                    top = max(top, word)
                    if word == peak:
                        peaks += 1
                    elif low < word <= high:
                        place = place_of(word, closed_above, up, by, last)
                        if place < slots:
                            shift = np.uint32((place & packed) << 4)
                            cuda.atomic.add(window, place >> packed, np.uint32(np.uint32(1) << shift))
                        else:
                            cuda.atomic.add(counts, row + place, np.uint32(1))
                elif word == np.uint32(INFINITY):
                    inf += 1
                else:
                    nan += 1
        cuda.atomic.max(tallies, TOP, top)
        if zeros:
            cuda.atomic.add(tallies, ZEROS, np.uint32(zeros))
        if nan:
            cuda.atomic.add(tallies, NAN, np.uint32(nan))
        if inf:
            cuda.atomic.add(tallies, INF, np.uint32(inf))
        if peaks:
            cuda.atomic.add(tallies, PEAKS, np.uint32(peaks))
        cuda.syncthreads()

        for i in range(thread, used, threads):
            counted = window[i]
            if packed:
                if counted & np.uint32(0xFFFF):
                    cuda.atomic.add(counts, row + 2 * i, np.uint32(counted & np.uint32(0xFFFF)))
                if counted >> np.uint32(16):
                    cuda.atomic.add(counts, row + 2 * i + 1, np.uint32(counted >> np.uint32(16)))
            elif counted:
                cuda.atomic.add(counts, row + i, counted)
        if thread == 0:
            cuda.atomic.max(state, tensor * 4 + TOP, np.uint64(tallies[TOP]))
            if tallies[PEAKS] and low < peak <= high:
                place = place_of(peak, closed_above, up, by, last)
                cuda.atomic.add(counts, row + place, tallies[PEAKS])
        elif thread < PEAKS and tallies[thread]:
            cuda.atomic.add(state, tensor * 4 + thread, np.uint64(tallies[thread]))

    return count
