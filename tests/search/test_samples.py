"""The samples kept for a search do not depend on how the data came."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.search.samples import SampleKeeper, read_again
from onnx_trtcal.support.input_spec import InputSpec

DYNAMIC = (InputSpec("x", np.dtype(np.float32), ("N", 3)),)
FIXED = (InputSpec("x", np.dtype(np.float32), (4, 3)),)
ROWS = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)


def kept(
    rows: np.ndarray, batch_size: int, inputs: tuple[InputSpec, ...] = DYNAMIC, **limits: int
) -> np.ndarray:
    keeper = SampleKeeper(limits.get("most", 5), limits.get("most_bytes", 1 << 20))
    source = open_source(list(rows), inputs)
    for batch in batches(source, batch_size):
        keeper.offer(batch)
    return np.stack([feeds["x"] for feeds in keeper.feeds()])


@pytest.mark.parametrize("limits", [{}, {"most_bytes": 40}, {"most_bytes": 1}, {"most": 100}])
def test_order_and_batching_do_not_matter(limits: dict[str, int]) -> None:
    first = kept(ROWS, 1, **limits)
    for seed, batch_size in enumerate((1, 3, 8, 30)):
        shuffled = np.random.default_rng(seed).permutation(ROWS)
        assert np.array_equal(kept(shuffled, batch_size, **limits), first)
    assert first.shape == (
        ({40: 3, 1: 1}.get(limits.get("most_bytes", 0)) or min(limits.get("most", 5), 21)),
        1,
        3,
    )


def test_a_sample_given_twice_counts_once() -> None:
    assert np.array_equal(kept(np.concatenate([ROWS, ROWS]), 4), kept(ROWS, 4))


def test_a_fixed_batch_is_filled_with_the_sample() -> None:
    found = kept(ROWS, 1, FIXED)
    assert found.shape == (5, 4, 3)
    assert all(np.array_equal(rows, np.repeat(rows[:1], 4, axis=0)) for rows in found)


def test_reading_again_gives_the_same_of_those_counted() -> None:
    source = open_source(list(ROWS), DYNAMIC)
    hashes = [digest for batch in batches(source, 7) for digest in batch.hashes]
    again = np.stack([feeds["x"] for feeds in read_again(source, hashes, 5)])
    assert np.array_equal(again, kept(ROWS, 2))
    some = np.stack([feeds["x"] for feeds in read_again(source, hashes[:6], 99)])
    assert np.array_equal(some, kept(ROWS[:6], 2, most=99))
