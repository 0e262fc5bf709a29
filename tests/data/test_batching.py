from __future__ import annotations

import hashlib
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onnx_trtcal.data.batching import Batch, batches, sample_hash
from onnx_trtcal.data.layout import Feeding
from onnx_trtcal.data.samples import Sample
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)


def inputs_of(batch):
    return (InputSpec("x", FLOAT, (batch, 2, "W")), InputSpec("ids", np.dtype(np.int64), (batch,)))


def samples_of(widths):
    return [
        {"x": np.full((2, width), index, np.float32), "ids": np.int64(index)}
        for index, width in enumerate(widths)
    ]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([1, 1, 1, 3]), min_size=1, max_size=20),
    st.integers(1, 9),
    st.sampled_from(["N", None, 1, 4]),
    st.integers(1, 4),
)
def test_any_batch_size_gives_the_same_samples_in_the_same_order(widths, size, fixed, threads):
    inputs = inputs_of(fixed)
    source = open_source(samples_of(widths), inputs)
    effective = fixed if isinstance(fixed, int) else size
    seen, names, hashes = [], [], []
    for batch in batches(source, size, threads):
        assert batch.count == len(batch.names) == len(batch.hashes) <= effective
        assert batch.rows == (effective if isinstance(fixed, int) else batch.count)
        assert batch.padded == (batch.rows > batch.count)
        for name, array in batch.feeds.items():
            assert array.shape[0] == batch.rows
            assert array.flags.c_contiguous
            assert array.dtype == (np.float32 if name == "x" else np.int64)
            for row in array[batch.count :]:
                np.testing.assert_array_equal(row, array[batch.count - 1])
        seen += [
            (row.shape[1], row.max(), number) for row, number in zip(*batch.feeds.values(), strict=True)
        ][: batch.count]
        names += batch.names
        hashes += batch.hashes
    assert seen == [(width, index, index) for index, width in enumerate(widths)]
    assert names == [f"item {index}" for index in range(len(widths))]
    assert hashes == [sample_hash(sample) for sample in source]


def test_batches_are_full_while_shapes_agree():
    inputs = inputs_of("N")
    sizes = [batch.count for batch in batches(open_source(samples_of([1] * 7 + [2] * 2), inputs), 3)]
    assert sizes == [3, 3, 1, 2]


def test_verbatim_samples_are_fed_untouched_one_at_a_time():
    inputs = (InputSpec("x", FLOAT, ("batch", 4)), InputSpec("sr", np.dtype(np.int64), ()))
    feed = {"x": np.ones((6, 4), np.float32), "sr": np.int64(16000)}
    fed = list(batches(open_source([feed, feed], inputs), 8))
    assert [
        (batch.count, batch.padded, batch.feeds["x"].shape, batch.feeds["sr"].shape) for batch in fed
    ] == [(1, False, (6, 4), ())] * 2


def test_hash_is_of_the_content_alone():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = Sample("one", {"x": x, "a": np.array(["t"], object)})
    other = Sample("other", {"a": np.array(["t"], object), "x": np.asfortranarray(x)})
    assert sample_hash(one) == sample_hash(other)
    plain = hashlib.sha256(b"x\0float32\0(2, 3)\0" + x.tobytes()).hexdigest()
    assert sample_hash(Sample("", {"x": x})) == plain
    different = [x.reshape(3, 2), x.astype(np.float64), x + 1, x.view(np.int32)]
    assert len({sample_hash(Sample("", {"x": array})) for array in [x, *different]}) == 5


def test_a_truncated_file_in_mid_stream_is_an_error_that_names_it(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(12):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{index}.jpg")
    bad = tmp_path / "7.jpg"
    bad.write_bytes(bad.read_bytes()[:400])
    inputs = (InputSpec("x", FLOAT, ("N", 3, 32, 32)),)
    stream = batches(open_source(tmp_path, inputs), 2)
    assert [next(stream).names for _ in range(3)] == [
        ("0.jpg", "1.jpg"),
        ("2.jpg", "3.jpg"),
        ("4.jpg", "5.jpg"),
    ]
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        next(stream)
    assert caught.value.where == str(bad)


def test_threads_end_when_the_consumer_stops_early(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((500, 2, 3), np.float32))
    inputs = (InputSpec("x", FLOAT, ("N", 2, 3)),)
    for _ in batches(open_source(tmp_path, inputs), 2):
        break
    deadline = time.monotonic() + 5
    names = []
    while time.monotonic() < deadline:
        names = [
            thread.name for thread in threading.enumerate() if thread.name.startswith("calibration-data")
        ]
        if not names:
            break
        time.sleep(0.01)
    assert not names


def test_memory_holds_a_few_batches_of_a_big_stack(tmp_path):
    """Peak of NumPy's allocations over 512 samples of 64 KiB in batches of 8.

    Two batches read ahead, one gathered, one stacked, one in the consumer's hands: 40 samples, so 64 leave room
    for what else is allocated, an eighth of the stack.
    """
    inputs = (InputSpec("x", FLOAT, ("N", 16, 1024)),)
    np.save(tmp_path / "a.npy", np.zeros((512, 16, 1024), np.float32))
    tracemalloc.start()
    try:
        assert sum(batch.count for batch in batches(open_source(tmp_path, inputs), 8, 2)) == 512
        assert tracemalloc.get_traced_memory()[1] < 64 * 65536
    finally:
        tracemalloc.stop()


def test_a_batch_size_of_nothing():
    inputs = inputs_of("N")
    with pytest.raises(OptionError, match="batch_size is 0"):
        batches(open_source(samples_of([1]), inputs), 0)


@given(st.integers(1, 20), st.integers(1, 25), st.sampled_from([0, 1]))
def test_the_pieces_of_a_batch_are_its_samples_in_order(count, most, axis):
    array = np.arange(count * 3, dtype=np.float32).reshape((count, 3) if axis == 0 else (3, count))
    names = tuple(f"s{index}" for index in range(count))
    feeding = Feeding({"x": axis, "shared": None})
    batch = Batch({"x": array, "shared": np.ones(2)}, names, names, count, count, feeding)
    pieces = list(batch.pieces(most))
    assert len(pieces) == -(-count // most)
    assert max(piece.count for piece in pieces) - min(piece.count for piece in pieces) <= 1
    assert all(len(piece.names) == piece.count == piece.rows <= most for piece in pieces)
    assert sum((piece.names for piece in pieces), ()) == names == sum((piece.hashes for piece in pieces), ())
    np.testing.assert_array_equal(np.concatenate([piece.feeds["x"] for piece in pieces], axis), array)
    assert all(piece.feeds["x"].flags.c_contiguous for piece in pieces)
    assert all(piece.feeds["shared"].shape == (2,) for piece in pieces)


@pytest.mark.parametrize("fixed", [None, 5])
def test_one_sample_of_a_batch_fills_a_fixed_batch_up(fixed):
    names = ("a", "b", "c")
    feeding = Feeding({"x": 1, "shared": None}, fixed)
    array = np.arange(2.0 * (fixed or 3)).reshape(2, -1)
    batch = Batch({"x": array, "shared": np.ones(2)}, names, names, 3, fixed or 3, feeding)
    one = batch.alone(1)
    assert (one.names, one.hashes, one.count, one.rows) == (("b",), ("b",), 1, fixed or 1)
    assert np.array_equal(one.feeds["x"], np.repeat(array[:, 1:2], fixed or 1, 1))
    assert one.alone(0) is one


@pytest.mark.parametrize("feeding", [Feeding({"x": 0}, 4), Feeding({"x": None}, verbatim="as given")])
def test_a_batch_that_is_given_as_it_is_stays_whole(feeding):
    names = ("a", "b", "c", "d")
    batch = Batch({"x": np.ones((4, 1), np.float32)}, names, names, 4, 4, feeding)
    assert list(batch.pieces(1)) == [batch] and list(batch.pieces(None)) == [batch]


def test_small_samples_of_a_list_are_prefetched_a_few_at_a_time():
    class Noted(list):
        taken = 0

        def __iter__(self):
            for each in super().__iter__():
                self.taken += 1
                yield each

    data = Noted(np.full((2, 2), at, np.float32) for at in range(200))
    source = open_source(data, inputs_of("N")[:1])
    assert source.count == 200
    data.taken = 0
    fed = batches(source, 2, 3)
    for number in range(1, 40):
        next(fed)
        time.sleep(0.002)
        assert data.taken <= 2 * number + 32 + 8
    fed.close()


def test_an_iterator_is_not_waited_for_where_a_sample_is_there():
    """It may give the next one only once the last one has gone through the model."""
    received = threading.Event()

    def elements():
        yield np.zeros((2, 2), np.float32)
        assert received.wait(20)
        yield np.ones((2, 2), np.float32)

    fed = batches(open_source(elements(), inputs_of("N")[:1]), 1)
    assert next(fed).names == ("item 0",)
    received.set()
    assert next(fed).names == ("item 1",)


def test_large_samples_among_small_ones_are_not_gathered(tmp_path):
    """At most as many of them are in memory as of any other."""
    inputs = (InputSpec("x", FLOAT, ("N", "W")),)
    for at in range(24):
        np.save(tmp_path / f"{at}.npy", np.zeros(1 << 18 if at else 4, np.float32))
    source = open_source(tmp_path, inputs)
    assert source.count == 24
    tracemalloc.start()
    try:
        counts = [batch.count for batch in batches(source, 1, 2)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(counts) == 24
    assert peak < 6 << 20


def test_an_iterator_ends_in_the_thread_that_advances_it():
    """What it holds may be of use in that thread only, as a database's cursor is."""
    threads = []

    def rows():
        threads.append(threading.current_thread())
        try:
            for value in range(100):
                yield np.full(4, value, np.float32)
        finally:
            threads.append(threading.current_thread())

    stream = batches(open_source(rows(), [InputSpec("x", np.dtype(np.float32), ("n", 4))]), 4)
    next(stream)
    stream.close()
    advanced, closed = threads
    assert advanced is closed
