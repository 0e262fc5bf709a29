"""The histogram against its definition, value by value, and the order-free rule's invariants."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from helpers.slow_histogram import (
    DTYPES,
    any_array,
    arrays_of,
    bins,
    counted,
    magnitudes,
    stable_state,
    tensorrt_state,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.histogram import Histogram

TINY = np.float32(2.0**-149)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(any_array())
@example(np.array([], np.float32))
@example(np.array([TINY, 3 * TINY], np.float32))
@example(np.array([3.4028235e38, 1e-45, 1.0], np.float32))
@example(np.array([2.0**127, 2.0**127 + 2.0**104, TINY], np.float32))
@example(np.array([1.7e308, 5e-324, 2.0**1023], np.float64))
@example(np.array([65504, 6e-8, np.inf, -np.nan], np.float16))
@example(np.full((2, 3, 4), 0.75, ml_dtypes.bfloat16))
def test_stable_is_its_definition(values: np.ndarray) -> None:
    histogram = counted(values)
    width, expected = stable_state(values)
    assert histogram.width == width
    assert bins(histogram) == expected
    sizes = magnitudes(values)
    finite = [x for x in sizes if x < math.inf]
    assert histogram.amax == max(finite, default=0.0)
    assert histogram.zeros == finite.count(0.0)
    assert histogram.total == len(finite)
    assert histogram.nan == sum(map(math.isnan, sizes))
    assert histogram.inf == sizes.count(math.inf)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(any_array(), max_size=5), st.randoms(use_true_random=False))
def test_stable_does_not_depend_on_order_or_split(arrays: list[np.ndarray], random: object) -> None:
    at_once = counted(*arrays)
    shuffled = list(arrays)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    pieces = [piece for array in shuffled for piece in np.array_split(array, 3)]
    assert counted(*pieces) == at_once
    left, right = counted(*pieces[::2]), counted(*pieces[1::2])
    left.merge(right)
    assert left == at_once
    assert right == counted(*pieces[1::2])


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(arrays_of(np.float64), st.integers(-30, 30))
def test_stable_scales_by_powers_of_two(values: np.ndarray, exponent: int) -> None:
    values = values[(np.abs(values) < 2.0**900) & ((values == 0) | (np.abs(values) > 2.0**-90))]
    plain, scaled = counted(values), counted(values * 2.0**exponent)
    assert bins(scaled) == bins(plain)
    assert scaled.width == plain.width * 2.0**exponent
    assert scaled.amax == plain.amax * 2.0**exponent


@settings(max_examples=100, deadline=None)
@given(arrays_of(np.float32))
def test_coarse_adds_neighbours(values: np.ndarray) -> None:
    histogram = counted(values)
    counts, width = histogram.coarse()
    assert counts.dtype == np.int64
    assert counts.shape == (2048,)
    assert counts.sum() == histogram.total
    if histogram.amax == 0:
        assert width == 0
        return
    times = round(width / histogram.width)
    assert width == times * histogram.width
    assert width * 2048 >= histogram.amax
    assert times == 1 or (times - 1) * histogram.width * 2048 < histogram.amax
    expected = np.zeros(2048, np.int64)
    for place, number in bins(histogram).items():
        expected[place // times] += number
    expected[0] += histogram.zeros
    assert (counts == expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_large_arrays_take_all_lanes(dtype: type, rule: str) -> None:
    random = np.random.default_rng(5)
    values = np.maximum(random.standard_normal(100_003), 0).astype(dtype)
    values[[7, 50_000, 99_999]] = [np.nan, np.inf, -np.inf]
    values[60_000] = 40  # the range doubles in the middle of the sweep
    histogram = counted(values, rule=rule)
    positive = np.abs(values.astype(np.float64))
    positive = positive[np.isfinite(positive) & (positive > 0)]
    if rule == "stable":
        places = np.ceil(positive / (64 / 32768)).astype(int) - 1
    else:
        places = np.minimum(positive.astype(np.float32) * np.float32(2048) / np.float32(40), 2047).astype(int)
    assert (histogram.counts == np.bincount(places, minlength=histogram.counts.size)).all()
    assert (histogram.nan, histogram.inf, histogram.total) == (1, 2, 100_000)
    assert histogram.zeros == 100_000 - positive.size


def test_growing_values_double_the_range_within_a_sweep() -> None:
    values = np.repeat(2.0 ** np.arange(-140, 128), 1000).astype(np.float32)
    assert counted(values) == counted(*np.array_split(values[::-1], 50))
    assert counted(values).range == 2.0**127


def test_memory_layout_does_not_matter() -> None:
    values = np.random.default_rng(0).standard_normal((6, 7, 8)).astype(np.float32)
    expected = counted(values.copy())
    assert counted(values.transpose(2, 0, 1)) == expected
    assert counted(values[::-1, :, ::-1]) == expected
    assert counted(values[::2], values[1::2]) == expected
    assert counted(values.astype(">f4")) == expected
    assert counted(np.broadcast_to(np.float32(3), (2, 5))).total == 10
    frozen = values.copy()
    frozen.flags.writeable = False
    assert counted(frozen) == expected
    assert values.flags.writeable


def test_narrow_floats_are_counted_and_integers_refused() -> None:
    values = np.array([0.5, -2, 448], ml_dtypes.float8_e4m3fn)
    assert counted(values) == counted(values.astype(np.float32))
    with pytest.raises(StatisticsError, match="int32"):
        Histogram().add(np.arange(3, dtype=np.int32))
    with pytest.raises(StatisticsError, match="bool"):
        Histogram().add(np.array([True]))


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(StatisticsError, match="'fixed'"):
        Histogram("fixed")


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.floats(-1000, 1000, width=32), max_size=40), max_size=5))
def test_tensorrt_is_its_steps(batches: list[list[float]]) -> None:
    arrays = [np.array(batch, np.float32) for batch in batches]
    arrays = [np.where(np.abs(array) < 1e-30, np.float32(0), array) for array in arrays]
    histogram = counted(*arrays, rule="tensorrt")
    top, expected = tensorrt_state(arrays)
    assert histogram.range == top
    assert bins(histogram) == expected
    counts, width = histogram.coarse()
    assert width * 2048 == top
    assert counts[0] == expected.get(0, 0) + histogram.zeros
    assert counts.sum() == histogram.total


def test_tensorrt_waits_for_a_value_and_clips_the_top() -> None:
    histogram = counted(np.zeros(5, np.float32), rule="tensorrt")
    assert (histogram.width, histogram.zeros) == (0.0, 5)
    histogram.add(np.array([3, 1.5], np.float32))
    assert bins(histogram) == {2047: 1, 1024: 1}
    histogram.add(np.array([3.0000002], np.float32))
    assert histogram.range == 6
    assert bins(histogram) == {1023: 1, 512: 1, 1024: 1}


@pytest.mark.parametrize("scale", [2.0**-140, 2.0**-100, 2.0**-79, 2.0**90, 2.0**126])
def test_tensorrt_at_the_ends_of_float32(scale: float) -> None:
    values = (np.arange(1, 9) / 8 * 1.5).astype(np.float32)
    tiny = (values * scale).astype(np.float32)
    histogram = counted(tiny, tiny * np.float32(1.5), rule="tensorrt")
    assert histogram.range == 2 * float(tiny.max())
    places = tiny.astype(np.float64) * 1024 / float(tiny.max())
    expected = np.bincount(np.minimum(places, 1023).astype(int), minlength=2048)
    with np.errstate(over="ignore"):
        later = (tiny * np.float32(1.5)).astype(np.float64)
    later = later[np.isfinite(later)] * 1024 / float(tiny.max())
    expected += np.bincount(later.astype(int), minlength=2048)
    assert (histogram.counts == expected).all()


def test_tensorrt_reads_doubles_as_float32() -> None:
    values = np.random.default_rng(1).standard_normal(100)
    histogram = counted(values, rule="tensorrt")
    assert histogram == counted(values.astype(np.float32), rule="tensorrt")
    histogram.add(np.array([1e300]))
    assert histogram.inf == 1


def test_tensorrt_does_not_merge() -> None:
    with pytest.raises(StatisticsError, match="first batch"):
        Histogram("stable").merge(Histogram("tensorrt"))
    with pytest.raises(StatisticsError, match="first batch"):
        Histogram("tensorrt").merge(Histogram("tensorrt"))
