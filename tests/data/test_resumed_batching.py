"""Batches that resume after what an earlier run has counted, and that end at given sample counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.data.batching import OtherSamplesError, batches
from onnx_trtcal.data.lookahead import Lookahead
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUTS = (InputSpec("x", np.dtype(np.float32), ("n", 2)),)
ROWS = [np.full(2, index, np.float32) for index in range(12)]
DATA = open_source(ROWS, INPUTS)
KEYS = [pair for batch in batches(DATA, 5) for pair in zip(batch.names, batch.hashes, strict=True)]


def names(
    batch_size: int, counted: Sequence[tuple[str, str]] = (), ends: Sequence[int] = ()
) -> list[list[str]]:
    return [list(batch.names) for batch in batches(DATA, batch_size, counted=counted, ends=ends)]


@pytest.mark.slow
@given(st.integers(0, 12), st.integers(1, 13))
def test_what_is_counted_is_left_out(done: int, batch_size: int) -> None:
    skipped: list[str] = []
    stream = batches(DATA, batch_size, counted=KEYS[:done], skipped=lambda one: skipped.extend(one.names))
    got = [name for batch in stream for name in batch.names]
    assert got == [f"item {index}" for index in range(done, 12)]
    assert skipped == [f"item {index}" for index in range(done)]


@pytest.mark.slow
@given(st.sets(st.integers(1, 12)), st.integers(0, 12), st.integers(1, 13))
def test_a_batch_ends_at_every_end(ends: set[int], done: int, batch_size: int) -> None:
    got = names(batch_size, KEYS[:done], sorted(ends))
    reached = set(np.cumsum([done, *map(len, got)]).tolist())
    assert reached >= {end for end in ends if end > done}


def test_data_that_begins_otherwise_is_refused_before_the_first_batch() -> None:
    for counted, said in (
        (KEYS[1:3], "'item 0'"),
        ([("item 0", KEYS[1][1])], "'item 0'"),
        ([*KEYS, ("item 12", "f")], "'item 12'"),
        ([KEYS[0], KEYS[2]], "'item 1'"),
    ):
        with pytest.raises(OtherSamplesError, match=said):
            next(batches(DATA, 2, counted=counted))


def test_a_sample_given_twice_is_not_taken_for_a_counted_one() -> None:
    first, second, *_ = DATA.items()
    twice = replace(DATA, items=Lookahead(lambda: iter([first, first, second])))
    got = list(batches(twice, 3, counted=KEYS[:1]))
    assert [batch.names for batch in got] == [("item 0", "item 1")]
    with pytest.raises(OtherSamplesError):
        next(batches(twice, 3, counted=KEYS[:2]))
