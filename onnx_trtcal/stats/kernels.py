"""The compiled loops that count tensors into bins, by the addresses of both.

Importing this module imports numba: import it when counting starts. A tensor is read once, in blocks that stay
in the first-level cache: one loop over a block, which vectorizes, finds the place of every value, another one
adds to the places. Additions to one place wait for each other. So zeros, which many activations have, go to
sixteen places in turn that nobody reads (they are what is left of all values), and so does a value that many
neighbours share, once it is known how often it is there.

numba takes longer to compile these loops than they take for the first hundred images, so what few runs need is
compiled for those only (`more`), functions are few, and what numba's library would make of `min` or `ceil` is not used.
"""

# ruff: noqa: ARG001 (numba passes every intrinsic and its code generator the same arguments)

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from onnx_trtcal.stats.rows import BFLOAT16, FLOAT16, FLOAT32, LARGEST, UNREAD, USABLE, ZEROS
from onnx_trtcal.support.jit import compiled, intrinsic, part

__all__ = ["count_rows", "new_buffer"]

BLOCK = 1024  # values of a tensor that are read at a time
MOST_PEAKS = 4  # values of a block that are counted apart
SAMPLED = 64  # one pair of neighbours out of so many values is compared
INFINITY = 0x7F800000  # float32 bit pattern; larger ones are NaN
FLOAT16_RANGE = 0x47800000  # of 2**16, what float16's infinity is widened to
_, LARGEST16, LARGEST32 = LARGEST.values()
WORDS, PLACES, IN_TURN, END = 0, 4 * BLOCK, 8 * BLOCK + 64, 12 * BLOCK + 64  # bytes in a thread's buffer


@intrinsic
def as_bits(typing: Any, value: Any) -> Any:
    """The bit pattern of a float32, as uint32."""
    return types.uint32(types.float32), _bitcast


@intrinsic
def as_float(typing: Any, bits: Any) -> Any:
    """The float32 of a bit pattern."""
    return types.float32(types.uint32), _bitcast


@intrinsic
def ceil(typing: Any, value: Any) -> Any:
    """The smallest whole float32 that is not below another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.ceil", [ir.FloatType()])
        return builder.call(function, arguments)

    return types.float32(types.float32), generate


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


def _pointer_to(kind: Any) -> Any:
    """An intrinsic that makes a pointer to a type from an address."""

    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:
        return types.CPointer(kind)(types.uint64), _pointer

    return pointer


floats_at = _pointer_to(types.float32)
bytes_at, halves_at = _pointer_to(types.uint8), _pointer_to(types.uint16)
words_at, longs_at = _pointer_to(types.uint32), _pointer_to(types.uint64)


@intrinsic
def read_ahead(typing: Any, address: Any) -> Any:
    """Has the line at an address brought into the cache; it need not be readable."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(prefetch, [pointer, word(0), word(3), word(1)])  # to read, into every level, data
        return context.get_dummy_value()

    return types.void(types.uint64), generate


@intrinsic
def take_turn(typing: Any, turn: Any) -> Any:
    """What int64 turn[0] was before this call made it larger by one; no two threads get the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.IntType(64)(1), "monotonic")

    return types.int64(turn), generate


def new_buffer() -> np.ndarray:
    """What one thread works in: uint8, its address is an argument of `count_rows`."""
    buffer = np.zeros(END, np.uint8)
    buffer[IN_TURN:].view(np.uint32)[:] = np.arange(BLOCK) % ZEROS
    return buffer


@compiled
def count_rows(  # noqa: C901 (one loop nest over local variables, which functions would have to hand on)
    rows: Any, order: Any, turn: Any, headers: Any, more: Any, buffer: Any
) -> None:
    """Counts the tensors rows[order[turn[0]]], rows[order[turn[0] + 1]] and so on.

    Threads that share `turn` share the tensors. A tensor is counted up to the block whose values its bins do not
    reach to or have no room for: its `done` is not its `end` then. Where they do not reach, `top` is beyond `limit`,
    and is the largest magnitude of all that is left.

    Args:
        rows: of `stats.rows.ROW`.
        order: int64[tensors], the rows to count, those that take longest first.
        turn: int64[1], 0 at first.
        headers: as `stats.arrays.headers` gives it.
        more: None where there is only float32 under the rule `stable`, else whether the rule is `tensorrt`.
        buffer: uint64, the address of a thread's own buffer, see `new_buffer`.
    """
    words, places, in_turn = words_at(buffer), words_at(buffer + PLACES), words_at(buffer + IN_TURN)
    one = np.uint32(1)
    while True:
        taken = take_turn(turn)
        if taken >= order.size:
            return
        row = rows[order[taken]]
        if row.array:
            find_values(row, headers)
            if more is None and row.kind != FLOAT32:
                row.done = UNREAD
            if row.done == UNREAD:
                continue
        done, end, period = row.done, row.end, row.period
        top, limit, room = row.top, row.limit, row.room
        small, halves, bins = bytes_at(row.cells), halves_at(row.cells), words_at(row.cells)
        itemsize, looking = 4, False
        if more is not None:
            itemsize = 4 if row.kind == FLOAT32 else 2
            # The rule `tensorrt` sets the range by the whole batch before it counts.
            looking = more and done == 0
        while done < end:
            size = end - done
            if size > BLOCK:
                size = BLOCK
            left = row.full - done % period
            padded = left <= 0
            if padded:
                left += period - row.full
            if size > left:
                size = left
            here = row.address + np.uint64(done * itemsize)
            nan, inf = 0, 0
            ahead = here + np.uint64(size * itemsize)
            kept = size
            if more is not None and row.kind != FLOAT32:
                widen(halves_at(here), row.kind, size, words)
                here = buffer
            if padded:
                kept = drop_padding(words_at(here), size, row.lanes, row.real, words)
                here = buffer
            if more is None:
                most = find_places(floats_at(here), kept, row.up, row.by, in_turn, places)
            else:
                most = find_more_places(floats_at(here), kept, more, row, in_turn, places)
            if most >= np.uint32(INFINITY):
                nan, inf = drop_nonfinite(words_at(here), kept, words)
                kept -= nan + inf
                if more is None:
                    most = find_places(floats_at(buffer), kept, row.up, row.by, in_turn, places)
                else:
                    most = find_more_places(floats_at(buffer), kept, more, row, in_turn, places)
            if most > top:
                top = most
            if top > limit and not looking:
                looking = True
                row.done = done
            if looking:
                done += size
                if done >= end and top <= limit:
                    looking, done = False, row.done
                continue
            if row.bytes != 1:
                if room < kept:
                    room = find_room(bins, row.size, row.bytes)
                    if room < kept:
                        break
                room -= kept
                for _ in range(MOST_PEAKS):
                    equal, peak = drop_peak(places, kept, in_turn)
                    if equal == 0:
                        break
                    if row.bytes == 2:
                        halves[peak] += equal
                    else:
                        bins[peak] += equal
            for i in range(kept, kept + 16):
                places[i] = 0
            if row.bytes == 1:
                if not count_in_bytes(places, kept, small):
                    break
            elif row.bytes == 2:
                for i in range(0, kept, 16):
                    read_ahead(ahead + np.uint64(i * itemsize))
                    for j in range(16):
                        halves[places[i + j]] += one
            else:
                for i in range(0, kept, 16):
                    read_ahead(ahead + np.uint64(i * itemsize))
                    for j in range(16):
                        bins[places[i + j]] += one
            # Not before: a block that does not fit is read once more.
            row.counted += kept
            row.nan += nan
            row.inf += inf
            done += size
        if not looking:
            row.done = done
        row.top, row.room = top, room


@part
def find_values(row: Any, headers: Any) -> None:
    """Fills in where the values of a NumPy array are; only where they are contiguous and of a dtype that is counted."""
    array = row.array
    row.array, row.done, row.end = 0, UNREAD, 0
    fields = array + headers[0]
    longs, words = longs_at(fields), words_at(fields)
    # The type comes before the fields; a subclass or a scalar has others.
    if longs_at(fields - np.uint64(8))[0] != headers[1] or words[12] & np.uint32(USABLE) != np.uint32(USABLE):
        return
    kind = FLOAT32
    if longs[5] == headers[3]:
        kind = FLOAT16
    elif longs[5] == headers[4]:
        kind = BFLOAT16
    elif longs[5] != headers[2]:
        return
    shape = longs_at(longs[2])
    size = np.int64(1)
    for axis in range(np.int64(words[2])):
        size *= np.int64(shape[axis])
    row.address, row.kind, row.done, row.end = longs[0], kind, 0, size
    row.period = row.full = size


@part
def drop_padding(source: Any, size: Any, lanes: Any, real: Any, words: Any) -> Any:
    """Brings a block's values without padding into `words`, which may be that block; how many they are."""
    kept = 0
    for i in range(0, size, lanes):
        for j in range(real):
            words[kept] = source[i + j]
            kept += 1
    return kept


@part
def drop_nonfinite(source: Any, size: Any, words: Any) -> Any:
    """Brings a block's finite values into `words`, which may be that block; how many are NaN, and Inf."""
    kept, nan, inf = 0, 0, 0
    for i in range(size):
        word = source[i] & np.uint32(0x7FFFFFFF)
        if word > np.uint32(INFINITY):
            nan += 1
        elif word == np.uint32(INFINITY):
            inf += 1
        else:
            words[kept] = word
            kept += 1
    return nan, inf


@part
def find_places(block: Any, size: Any, up: Any, by: Any, in_turn: Any, places: Any) -> Any:
    """Writes the places of a block's values under the rule `stable`; returns the largest bit pattern of a magnitude.

    Where that is beyond what the bins reach to, or of no finite value, the places are of no use.
    """
    zero, one = np.uint32(0), np.int32(1)
    top = zero
    for i in range(size):
        value = abs(block[i])
        word = as_bits(value)
        top = word if word > top else top
        # Widths are powers of two, so the product is exact; one that underflows belongs to the first bin.
        place = np.int32(ceil(value * up * by))
        place = (place if place > one else one) + np.int32(ZEROS - 1)
        places[i] = np.uint32(place) if word > zero else in_turn[i]
    return top


@part
def find_more_places(block: Any, size: Any, tensorrt: Any, row: Any, in_turn: Any, places: Any) -> Any:
    """Writes the places of a block's values under either rule, see `find_places`."""
    up, by, last = row.up, row.by, row.last
    if not tensorrt:
        return find_places(block, size, up, by, in_turn, places)
    zero = np.uint32(0)
    top = zero
    for i in range(size):
        value = abs(block[i])
        word = as_bits(value)
        top = word if word > top else top
        place = np.uint32(np.int32(value * up / by))
        place = (place if place < last else last) + np.uint32(ZEROS)
        places[i] = place if word > zero else in_turn[i]
    return top


@part
def widen(halves: Any, kind: Any, size: Any, words: Any) -> None:
    """Brings a block of float16 or bfloat16 as float32 into `words`."""
    if kind == BFLOAT16:
        for i in range(size):
            words[i] = np.uint32(halves[i]) << np.uint32(16)
    else:
        for i in range(size):
            # Multiplying changes the exponent's bias and makes float16's subnormals normal, exactly.
            small = as_float((np.uint32(halves[i]) & np.uint32(0x7FFF)) << np.uint32(13))
            word = as_bits(small * np.float32(2.0**112))
            words[i] = word + np.uint32(word >= np.uint32(FLOAT16_RANGE)) * np.uint32(
                INFINITY - FLOAT16_RANGE
            )


@part
def drop_peak(places: Any, size: Any, in_turn: Any) -> Any:
    """Where more than a quarter of the neighbours are in one place, sends what is there to those for zeros.

    Returns:
        How many values that was, 0 for none, and the place.
    """
    same, equal, peak = 0, np.uint32(0), np.uint32(0)
    for i in range(0, size - 1, SAMPLED):
        if places[i] == places[i + 1]:
            peak = places[i]
            same += 1
    if same * (4 * SAMPLED) > size:
        for i in range(size):
            place = places[i]
            equal += np.uint32(place == peak)
            places[i] = in_turn[i] if place == peak else place
    return equal, peak


@part
def count_in_bytes(places: Any, size: Any, counters: Any) -> Any:
    """Adds a block to counters of a byte, which are too few values to look for room before; whether all fitted.

    Where a counter was full, all are left as they were.
    """
    for i in range(ZEROS):
        counters[i] = 0  # a block brings fewer than would fill one
    full = False
    for i in range(0, size, 16):
        for j in range(16):
            place = places[i + j]
            count = np.uint8(counters[place] + np.uint8(1))
            counters[place] = count
            full |= count == 0
    if full:
        for i in range(0, size, 16):
            for j in range(16):
                counters[places[i + j]] -= np.uint8(1)
    return not full


@part
def find_room(cells: Any, size: Any, itemsize: Any) -> Any:
    """How many values can be counted before one of the counters of 2 or 4 bytes might be full, at least."""
    some = np.uint32(0)
    shift = 1 if itemsize == 2 else 0
    for i in range(ZEROS >> shift, size >> shift):
        some |= cells[i]  # not below the largest of them
    if shift:
        return LARGEST16 - np.int64((some | some >> np.uint32(16)) & np.uint32(LARGEST16))
    return LARGEST32 - np.int64(some)
