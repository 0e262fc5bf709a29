"""Many tensors at once, at every width and in every state of their bins: what a slow reference counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from helpers.slow_histogram import any_array, bins, counted, stable_state, tensorrt_state
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats import bin_table, rows
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.host import HostCounter
from onnx_trtcal.support.channel_blocks import ChannelBlocks


def tensors() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    sizes = (0, 1, 10, 999, 1000, 20_000, 5001, 70_000)
    arrays = [random.standard_normal(size).astype(np.float32) * (i + 1) for i, size in enumerate(sizes)]
    arrays.append(arrays[-1].astype(np.float16).reshape(7, 100, 100).transpose(1, 2, 0))
    arrays.append(arrays[-2].astype(np.float64))
    arrays[-1][[5, 60_000]] = np.nan, 1e200
    return arrays


def count(batches: list[dict[str, np.ndarray]], rule: str = "stable") -> dict[str, Histogram]:
    histograms = {name: Histogram(rule) for name in batches[0]}
    counter = HostCounter(histograms)
    for batch in batches:
        counter.add(batch)
    counter.settle()
    return histograms


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_threads_count_what_one_thread_counts(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bin_table, "TASK", 1024)
    monkeypatch.setattr(bin_table, "cores", lambda: 4)
    arrays = tensors()
    expected = [counted(array, array * 2, rule=rule) for array in arrays]
    alone = {str(k): Histogram(rule) for k in range(len(arrays))}
    threaded = {str(k): Histogram(rule) for k in range(len(arrays))}
    odd = [str(len(arrays) - 1)] if rule == "stable" else ["9"]
    with ThreadPoolExecutor(4) as pool:
        for histograms, threads in ((alone, None), (threaded, pool)):
            counter = HostCounter(histograms)
            for factor in (1, 2):
                batch = {str(k): array * factor for k, array in enumerate(arrays)}
                assert counter.add(batch, threads) == odd
            counter.settle()
    assert list(alone.values()) == expected
    assert list(threaded.values()) == expected


def test_a_bad_array_is_refused_before_any_is_counted() -> None:
    histograms = {"a": Histogram(), "b": Histogram()}
    counter = HostCounter(histograms)
    with ThreadPoolExecutor(2) as pool, pytest.raises(StatisticsError, match="int64"):
        counter.add({"a": np.ones(3, np.float32), "b": np.ones(3, np.int64)}, pool)
    counter.settle()
    assert list(histograms.values()) == [Histogram(), Histogram()]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.integers(-148, 127),
    st.lists(st.integers(0, 1 << 24), min_size=1, max_size=50),
    st.integers(0, 1030),
    st.integers(1, 3),
)
def test_every_range_of_float32(exponent: int, parts: list[int], repeat: int, batches: int) -> None:
    """Magnitudes k / 2**24 of a range, edges of bins among them, and runs of equal ones across blocks."""
    numbers = np.array(parts + [each & ~511 for each in parts] + [parts[0]] * repeat, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        values = (numbers * 2.0**-24 * 2.0**exponent * (-1) ** np.arange(numbers.size)).astype(np.float32)
    histogram = count([{"x": values}] * batches)["x"]
    width, expected = stable_state(values)
    assert histogram.width == width
    assert bins(histogram) == {place: number * batches for place, number in expected.items()}
    assert histogram.zeros == int((values == 0).sum()) * batches
    assert histogram.total == values.size * batches


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(any_array(), min_size=3, max_size=3), min_size=1, max_size=3),
    st.sampled_from(["stable", "tensorrt"]),
)
def test_a_table_counts_what_single_arrays_count(batches: list[list[np.ndarray]], rule: str) -> None:
    found = count([{str(k): array for k, array in enumerate(batch)} for batch in batches], rule)
    for k, histogram in enumerate(found.values()):
        assert histogram == counted(*(batch[k] for batch in batches), rule=rule)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_counters_that_fill_up_are_made_to_hold_more(dtype: type) -> None:
    most = int(np.iinfo(dtype).max)
    random = np.random.default_rng(0)
    values = np.round(random.standard_normal(20_000) * 3).astype(np.float32)
    histogram = counted(values)
    histogram.bins.cells = histogram.bins.cells.astype(dtype)
    place = int(np.flatnonzero(histogram.counts)[0])
    start = most - 1500
    added = start - int(histogram.counts[place])
    histogram.bins.cells[rows.ZEROS + place] = start
    histogram.bins.room = 1500
    histogram.total += added
    counter = HostCounter({"x": histogram})
    for _ in range(3):
        counter.add({"x": values})
    counter.settle()
    expected = 4 * counted(values).counts
    expected[place] += added
    assert (histogram.counts == expected).all()
    assert histogram.total == 80_000 + added
    assert histogram.zeros == 4 * int((values == 0).sum())


@pytest.mark.parametrize("times", [254, 255, 256, 257, 511, 1024, 1025])
def test_counters_of_a_byte_are_exact_where_they_fill_up(times: int) -> None:
    random = np.random.default_rng(times)
    some = np.append(np.repeat(np.array([0.0, 0.5, 0.75], np.float32), times), np.float32(1.0))
    values = random.permutation(np.append(some, random.standard_normal(900).astype(np.float32) / 4))
    values[7] = np.nan
    batches = [values[:200], values, values[::-1]]
    few = count([{"x": batches[0]}])["x"]
    assert few.bins.cells.dtype == np.uint8
    assert bins(few) == stable_state(batches[0])[1]
    found = count([{"x": batch} for batch in batches])["x"]
    assert found.bins.cells.dtype == np.uint16
    assert bins(found) == stable_state(np.concatenate(batches))[1]
    assert (found.zeros, found.nan) == (int((np.concatenate(batches) == 0).sum()), 3)
    assert bins(count([{"x": batch} for batch in batches], "tensorrt")["x"]) == tensorrt_state(batches)[1]


def test_nan_and_inf_are_counted_once_where_counters_fill_up_beside_them() -> None:
    values = np.repeat(np.array([0.5, 0.25, 0.75], np.float32), 20_000)
    random = np.random.default_rng(1)
    values[random.choice(values.size, 900, replace=False)] = np.nan
    values[random.choice(values.size, 900, replace=False)] = -np.inf
    nan, inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    histogram = Histogram()
    for times in range(1, 8):
        histogram.add(values)
        assert (histogram.nan, histogram.inf) == (nan * times, inf * times)
        assert histogram.total == (values.size - nan - inf) * times


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [1.0, 1.0, 0.0], [5.0, 5.0, 1.0, 2.0, 3.0]])
@pytest.mark.parametrize("size", [5, 1024, 3000, 70_000])
def test_values_that_repeat(values: list[float], size: int) -> None:
    array = np.resize(np.repeat(np.array(values, np.float32), 3), size)
    histogram = count([{"x": array}] * 2)["x"]
    _, expected = stable_state(array)
    assert bins(histogram) == {place: 2 * number for place, number in expected.items()}
    assert histogram.zeros == 2 * int((array == 0).sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("channels", "block"), [(3, 8), (8, 8), (19, 16), (33, 16), (5, 4)])
@pytest.mark.parametrize("side", [1, 5, 40])
def test_padding_is_left_out(
    dtype: type, channels: int, block: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(channels)
    values = random.standard_normal((3, -(-channels // block), side, side + 1, block)).astype(dtype)
    plain = np.moveaxis(values, -1, 2).reshape(3, -1, side, side + 1)[:, :channels]
    values[:, -1, ..., channels % block or block :] = np.nan
    blocks = ChannelBlocks(values, channels)
    assert (blocks.plain() == plain).all() and blocks.shape == plain.shape
    assert (blocks[1:].plain() == plain[1:]).all() and blocks[1:].size == plain[1:].size
    expected = counted(plain)
    assert count([{"x": blocks}])["x"] == expected
    monkeypatch.setattr(bin_table, "TASK", 1024)
    monkeypatch.setattr(bin_table, "cores", lambda: 3)
    histograms = {"x": Histogram(), "y": Histogram()}
    counter = HostCounter(histograms)
    with ThreadPoolExecutor(2) as pool:
        assert counter.add({"y": plain, "x": blocks}, pool) == []
    counter.settle()
    assert histograms == {"x": expected, "y": expected}


def test_channel_blocks_say_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="17 channels"):
        ChannelBlocks(np.zeros((1, 1, 2, 2, 16), np.float32), 17)


def test_arrays_are_counted_where_python_lays_objects_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    known = bin_table.headers()
    assert known[0] == object.__basicsize__  # otherwise every array is asked for its address
    unknown = known.copy()
    unknown[0] = 0
    batch = {str(k): array for k, array in enumerate(tensors())}
    expected = count([batch])
    monkeypatch.setattr(bin_table, "headers", lambda: unknown)
    assert count([batch]) == expected


def test_what_is_no_plain_array_is_counted_as_one(tmp_path: object) -> None:
    random = np.random.default_rng(1)
    values = random.standard_normal((6, 8)).astype(np.float32)
    mapped = np.memmap(f"{tmp_path}/values", np.float32, "w+", shape=(6, 8))
    mapped[:] = values
    unaligned = np.frombuffer(b"x" + values.tobytes(), np.uint8)[1:].view(np.float32).reshape(6, 8)
    batch = {"plain": values, "mapped": mapped, "turned": values.T[::-1], "unaligned": unaligned}
    assert set(map(repr, count([batch]).values())) == {repr(counted(values))}
    assert all(histogram == counted(values) for histogram in count([batch]).values())
