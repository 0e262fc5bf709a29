"""Counters that are made, widened and merged as values need them: the counts are those of plain int64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.stats.bins import STABLE_BINS, Bins
from onnx_trtcal.support.memory import resident_memory

NUMBERS = st.sampled_from([1, 2, 127, 128, 255, 256, 40_000, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**40])
CELLS = st.lists(st.tuples(st.integers(0, STABLE_BINS - 1), NUMBERS), max_size=6)


def made(cells: list[tuple[int, int]], width: float) -> tuple[Bins, np.ndarray]:
    counts = np.zeros(STABLE_BINS, np.int64)
    for place, number in cells:
        counts[place] += number
    bins = Bins("stable")
    bins.width = width
    bins.store(counts)
    return bins, counts


def widened(counts: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        counts = np.append(counts[0::2] + counts[1::2], np.zeros(STABLE_BINS // 2, np.int64))
    return counts


def check(bins: Bins, counts: np.ndarray) -> None:
    assert (bins.counts == counts).all()
    assert bins.total() == counts.sum()
    held = np.asarray(bins.cells, np.int64)[16:]
    assert held.max(initial=0) + bins.room <= np.iinfo(bins.cells.dtype).max


@settings(max_examples=80, deadline=None)
@given(CELLS, CELLS, st.integers(-17, 17))
def test_sums_are_exact_whatever_the_counters_hold(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]], steps: int
) -> None:
    width = 2.0**-5
    one, expected = made(ours, width)
    other, added = made(theirs, width * 2.0**steps)
    check(one, expected)
    before = other.counts
    one.add(other)
    check(one, widened(expected, max(steps, 0)) + widened(added, max(-steps, 0)))
    assert (other.counts == before).all()
    for _ in range(3):
        one.make_room()
        check(one, widened(expected, max(steps, 0)) + widened(added, max(-steps, 0)))


def test_counters_are_narrow_and_end_at_the_largest_value() -> None:
    bins = Bins("stable")
    assert bins.cells.nbytes <= 64
    bins.reach(0.51)
    assert bins.range == 1.0 and bins.limit >= 0.51
    assert bins.cells.nbytes < 18_000  # a little more than half of 32768 uint8
    bins.reach(1.0)
    assert bins.cells.nbytes <= 32_768 + 16


def test_bins_that_nothing_is_counted_in_take_no_memory() -> None:
    before = resident_memory()
    if before is None:
        pytest.skip("the system does not say")
    counts = np.zeros(STABLE_BINS, np.int64)
    counts[[0, 70, STABLE_BINS - 1]] = 1, 100_000, 3
    # The heap would take up what these leave in it.
    del [np.ones(30_000) for _ in range(40)][:]
    kept = [Bins("stable") for _ in range(500)]
    for bins in kept:
        bins.width = 1.0
        bins.store(counts)
    after = resident_memory()
    assert after is not None
    assert (after - before) / len(kept) < 24 << 10
    assert all((bins.counts == counts).all() for bins in kept[::50])
