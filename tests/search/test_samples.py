"""The samples kept for a search do not depend on how the data came."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.search.samples import SampleKeeper, read_again
from onnx_trtcal.support.channel_blocks import ChannelBlocks
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


class TestResults:
    @pytest.mark.parametrize("batch_size", [1, 4, 21])
    def test_they_are_those_of_the_samples_that_are_kept(self, batch_size: int) -> None:
        keeper = SampleKeeper(5, results=("double", "blocks"))
        for batch in batches(open_source(list(ROWS), DYNAMIC), batch_size):
            x = batch.feeds["x"]
            blocks = ChannelBlocks(np.stack([x[:, :2], np.pad(x[:, 2:], ((0, 0), (0, 1)))], 1)[:, :, None], 3)
            keeper.note(batch, {"double": 2 * x, "blocks": blocks, "other": x})
            keeper.offer(batch)
        for feeds, found in zip(keeper.feeds(), keeper.results(), strict=True):
            assert np.array_equal(found["double"], 2 * feeds["x"])
            assert np.array_equal(found["blocks"], feeds["x"][:, :, None])

    def test_of_a_sample_that_was_offered_alone_there_are_none(self) -> None:
        keeper = SampleKeeper(99, results=("double",))
        for at, batch in enumerate(batches(open_source(list(ROWS), DYNAMIC), 7)):
            if at:
                keeper.note(batch, {"double": 2 * batch.feeds["x"]})
            keeper.offer(batch)
        assert sorted(len(found) for found in keeper.results()) == [0] * 7 + [1] * 14

    @pytest.mark.parametrize(
        "values",
        [np.zeros((4, 2 << 20), np.float32), None],
        ids=["large", "missing"],
    )
    def test_what_is_not_kept(self, values: np.ndarray | None) -> None:
        keeper = SampleKeeper(99, results=("y",))
        batch = next(batches(open_source(list(ROWS), DYNAMIC), 4))
        keeper.note(batch, {} if values is None else {"y": values})
        keeper.offer(batch)
        assert keeper.results() == [{}] * 4

    @pytest.mark.parametrize("samples", [3, 4])
    def test_a_fixed_batch_is_fed_with_more_than_the_sample(self, samples: int) -> None:
        keeper = SampleKeeper(99, results=("y",))
        batch = next(batches(open_source(list(ROWS[:samples]), FIXED), 4))
        keeper.note(batch, {"y": np.zeros((samples, 2), np.float32)})
        keeper.offer(batch)
        assert keeper.results() == [{}] * samples

    def test_samples_along_another_axis(self) -> None:
        keeper = SampleKeeper(99, results=("y",))
        source = open_source(
            [row[:, None] for row in ROWS], (InputSpec("x", np.dtype(np.float32), (3, "N")),), item_axis=["1"]
        )
        batch = next(batches(source, 3))
        keeper.note(batch, {"y": batch.feeds["x"]})
        keeper.offer(batch)
        assert keeper.results() == [{}] * 3

    def test_they_take_no_more_memory_than_the_samples_may(self) -> None:
        keeper = SampleKeeper(99, most_bytes=400, results=("y",))
        for batch in batches(open_source(list(ROWS), DYNAMIC), 4):
            keeper.note(batch, {"y": np.zeros((batch.count, 10), np.float32)})
            keeper.offer(batch)
        assert sum(map(len, keeper.results())) == 10
