"""Counting the values of many tensors at once: one compiled call per thread, for all of them."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnx_trtcal.stats import kernels
from onnx_trtcal.stats.arrays import KINDS, address_of, flat, headers
from onnx_trtcal.stats.bins import Bins
from onnx_trtcal.stats.rows import COUNTERS, FLOAT32, LARGEST, ROW, UNREAD
from onnx_trtcal.support.channel_blocks import ChannelBlocks
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

__all__ = ["BinTable", "Seen", "Values"]

TASK = 1 << 18  # values that are worth waking another thread for
PIECES = 4  # of one thread's work: a tensor that is larger than that is counted by several threads
# Values of a batch up to which counters of 1 byte, and of 2, pay.
MOST_BYTES, MOST_HALVES = 1 << 13, LARGEST[COUNTERS[1]] // 2
LARGEST_FLOAT = 0x7F7FFFFF  # bit pattern of the largest finite float32

Values = np.ndarray | ChannelBlocks


class Seen(NamedTuple):
    """What was seen of a tensor's values.

    Attributes:
        top: the largest finite magnitude; 0.0 when there is none.
        nan: how many were NaN.
        inf: how many were +-Inf.
        finite: how many were finite, zeros among them.
    """

    top: float
    nan: int
    inf: int
    finite: int


class _Job(NamedTuple):
    """Values to count: values[k] into the bins which[k] of a table."""

    table: BinTable
    which: np.ndarray
    values: Sequence[Values]


class _Buffer(threading.local):
    """What one thread works in."""

    def __init__(self) -> None:
        self.memory = kernels.new_buffer()
        self.address = np.uint64(address_of(self.memory))


_buffer = _Buffer()


class BinTable:
    """The bins of many tensors as the kernel needs them.

    Args:
        bins: of each tensor, all of one rule; they are the table's from `count` to `settle`.
    """

    def __init__(self, bins: Sequence[Bins]) -> None:
        self._bins = bins
        self._tensorrt = bool(bins) and bins[0].rule == "tensorrt"
        self._more: bool | None = True if self._tensorrt else None  # as `kernels.count_rows` takes it
        self._loaded = False
        self._held: list[np.ndarray] = []  # copies of values, while they are counted
        self._rows = np.zeros(len(bins), ROW)
        self._of_bins = self._rows[["cells", "size", "bytes", "room", "limit", "last", "up", "by"]]

    @property
    def nonfinite(self) -> np.ndarray:
        """int64[tensors]: how many NaN and Inf were seen of each since the last `settle`."""
        return np.asarray(self._rows["nan"] + self._rows["inf"])

    def count(self, which: np.ndarray, values: Sequence[Values], pool: Executor | None = None) -> None:
        """Adds values to bins; under the rule `tensorrt` each call is one batch.

        Args:
            which: int64[n], the tensors, each once.
            values: of each of them, in a dtype of `stats.arrays.KINDS`.
            pool: threads that help, which run no task that waits for this call; None leaves all to the calling one.
        """
        self._load_all()
        if self._more is None and {each.dtype for each in values} != {KINDS[FLOAT32]}:
            self._more = False
        if pool is None:
            self._announce(which, values)
            _count([_Job(self, which, values)])
            self._held = []
            return
        sizes = np.fromiter((each.size for each in values), np.int64, len(values))
        total = int(sizes.sum())
        helpers = min(cores() - 1, total // TASK)
        most = max(total // (helpers + 1) // PIECES, TASK) if helpers and not self._tensorrt else total
        # The largest first: the small ones then fill the gaps at the end.
        order = np.argsort(-sizes, kind="stable").tolist()
        split = [k for k in order if sizes[k] > most]
        whole = order[len(split) :]
        pieces = {int(which[k]): self._split(int(which[k]), values[k], most) for k in split}
        job = _Job(self, which[whole], [values[k] for k in whole])
        self._announce(job.which, job.values)
        parts = [_Job(piece, np.arange(len(piece._bins)), []) for piece in pieces.values()]
        _count([*parts, job], pool, helpers)
        for k, piece in pieces.items():
            self._take_in(k, piece)
        self._held = []

    def settle(self) -> list[Seen]:
        """Gives the bins back, which may be changed until the next `count`.

        Returns:
            What was seen of each tensor since the last time.
        """
        rows = self._rows
        tops = rows["top"].astype(np.uint32).view(np.float32).tolist()
        fields = [rows[name].tolist() for name in ("nan", "inf", "counted")]
        seen = [Seen(*each) for each in zip(tops, *fields, strict=True)]
        if self._loaded:
            for bins, room in zip(self._bins, rows["room"].tolist(), strict=True):
                bins.room = room
        for name in ("top", "nan", "inf", "counted"):
            rows[name] = 0
        self._loaded = False
        return seen

    def _load_all(self) -> None:
        if not self._loaded:
            for k in range(len(self._bins)):
                self._load(k)
        self._loaded = True

    def _load(self, k: int) -> None:
        """Tells the kernel of a tensor's bins."""
        bins = self._bins[k]
        width = bins.width or 1.0
        if self._tensorrt:
            bins.reach(0.0)
            # Both factors and the product stay among float32's normal numbers: only the quotient is rounded.
            up = 2.0**64 if width < 2.0**-79 else 1.0
            by = width * up if width < 2.0**128 else math.inf
        else:
            # Bins that float64 values made wider than float32 reaches hold every float32 in the first.
            up = 2.0**64 if width < 2.0**-126 else 1.0
            by = 1 / width / up
        address, size = address_of(bins.cells), bins.cells.size
        self._of_bins[k] = (
            address,
            size,
            bins.cells.itemsize,
            bins.room,
            _bits(bins.limit),
            bins.size - 1,
            up,
            by,
        )

    def _announce(self, which: np.ndarray, values: Sequence[Values]) -> None:
        """Tells the kernel which arrays to read; they must live until they are counted."""
        self._rows["array"][which] = np.fromiter(map(id, values), np.uint64, len(values))
        readable = bool(headers()[0])
        if not readable or ChannelBlocks in set(map(type, values)):
            for k, value in zip(which.tolist(), values, strict=True):
                if isinstance(value, ChannelBlocks) or not readable:
                    self._place(k, value)

    def _place(self, k: int, value: Values, begin: int = 0, most: int | None = None) -> None:
        """Tells the kernel where values lie, of which `most` are counted from `begin` on; None for all."""
        array = flat(value.values if isinstance(value, ChannelBlocks) else np.asarray(value))
        row, size = self._rows[k], array.size
        end = size if most is None else min(begin + most, size)
        row["array"], row["address"], row["kind"] = 0, address_of(array), KINDS.index(array.dtype)
        row["done"], row["end"], row["period"], row["full"] = begin, end, size, size
        if isinstance(value, ChannelBlocks) and (real := value.channels % value.block):
            period = math.prod(value.values.shape[1:])
            row["period"], row["full"] = period, period - period // value.values.shape[1]
            row["lanes"], row["real"] = value.block, real
        self._held.append(array)

    def _unfinished(self, which: np.ndarray, values: Sequence[Values]) -> list[int]:
        """The positions in `which` of what the kernel has not counted to its end, once it can."""
        rows = self._rows
        left = np.flatnonzero(rows["done"][which] != rows["end"][which]).tolist()
        for position in left:
            k = int(which[position])
            bins, row = self._bins[k], rows[k]
            if row["done"] == UNREAD:
                self._place(k, values[position])
                continue
            bins.room = int(row["room"])
            if row["top"] > row["limit"]:
                bins.make_wider(COUNTERS[int(row["end"] > MOST_BYTES) + int(row["end"] > MOST_HALVES)])
                bins.reach(float(row["top"].astype(np.uint32).view(np.float32)))
            else:
                bins.make_room()
            self._load(k)
        return left

    def _split(self, k: int, value: Values, most: int) -> BinTable:
        """A table of so many values each of one tensor, with bins of their own."""
        size = value.values.size if isinstance(value, ChannelBlocks) else value.size
        begins = range(0, size, -(-most // TASK) * TASK)
        if isinstance(value, np.ndarray):
            value = flat(value)  # once: that may be a copy
        pieces = BinTable([Bins("stable", brief=True) for _ in begins])
        for piece, begin in enumerate(begins):
            pieces._bins[piece].widen(self._bins[k].width)  # most likely the range of this batch, too
            pieces._place(piece, value, begin, begins.step)
        pieces._load_all()
        pieces._more = self._more
        return pieces

    def _take_in(self, k: int, pieces: BinTable) -> None:
        """Adds up what several rows counted of one tensor."""
        row, theirs = self._rows[k], pieces._rows
        bins = self._bins[k]
        bins.room = int(row["room"])
        for each in pieces._bins:
            bins.add(each)
        self._load(k)
        row["top"] = max(row["top"], theirs["top"].max())
        for name in ("nan", "inf", "counted"):
            row[name] += theirs[name].sum()


def _count(jobs: Sequence[_Job], pool: Executor | None = None, helpers: int = 0) -> None:
    """Counts everything, in this thread and as many of a pool."""
    left = list(jobs)
    while left:
        _count_once(left, pool, helpers)
        again = []
        for table, which, values in left:
            unfinished = table._unfinished(which, values)
            if unfinished:
                again.append(
                    _Job(table, which[unfinished], [values[k] for k in unfinished] if values else [])
                )
        left = again


def _count_once(jobs: Sequence[_Job], pool: Executor | None, helpers: int) -> None:
    """Counts as far as the bins reach."""
    orders = [np.ascontiguousarray(which, np.int64) for _, which, _ in jobs]
    turns = [np.zeros(1, np.int64) for _ in jobs]

    def work() -> None:
        for (table, _, _), order, turn in zip(jobs, orders, turns, strict=True):
            at = [np.uint64(address_of(each)) for each in (order, turn, headers())]
            kernels.count_rows(table._rows, at[0], order.size, *at[1:], table._more, _buffer.address)

    helping = [pool.submit(work) for _ in range(helpers)] if pool is not None else []
    try:
        work()
    finally:
        for future in helping:
            if not future.cancel():
                future.result()


def _bits(value: float) -> int:
    """The bit pattern of a magnitude as float32, that of the largest finite one for more."""
    return int(np.float32(value).view(np.uint32)) if value < 2.0**128 else LARGEST_FLOAT
