"""Caches as files: what diffing, merging, re-heading and renaming answer, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import CacheError, OptionError
from onnx_trtcal.trt.cache import Cache, dumps
from onnx_trtcal.trt.cache_ops import (
    PREFERENCES,
    diff_caches,
    dynamic_range,
    merge_caches,
    rename_tensors,
    set_cache_version,
)

HEADER = "TRT-100300-EntropyCalibration2"
SCALES = st.dictionaries(
    st.sampled_from("abcdef"), st.floats(0, 1000, width=32) | st.just(math.inf), max_size=6
).map(lambda scales: Cache(HEADER, scales))


def test_dynamic_range_is_what_int8_reaches() -> None:
    assert dynamic_range(0.5) == 63.5


def test_diff() -> None:
    first = Cache(HEADER, {"a": 1.0, "b": 2.0, "c": 1.0, "gone": 1.0, "z": 0.0, "i": math.inf})
    second = Cache(HEADER, {"new": 1.0, "c": 4.0, "b": 0.5, "a": 1.0, "z": 0.0, "i": math.inf})
    found = diff_caches(first, second)
    assert [(item.name, item.ratio) for item in found.common] == [
        ("b", 0.25),
        ("c", 4.0),
        ("a", 1.0),
        ("z", 1.0),
        ("i", 1.0),
    ]
    assert [item.name for item in found.changed] == ["b", "c"]
    assert (found.only_first, found.only_second, found.same) == (("gone",), ("new",), False)


@settings(max_examples=80, deadline=None)
@given(SCALES, SCALES)
def test_diff_sees_the_same_from_both_sides(first: Cache, second: Cache) -> None:
    there, back = diff_caches(first, second), diff_caches(second, first)
    assert {item.name for item in there.common} == set(first.scales) & set(second.scales)
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    factors = [max(x.first, x.second) / min(x.first, x.second) for x in there.changed if x.first and x.second]
    assert factors == sorted(factors, reverse=True)
    assert there.same == back.same == (dict(first.scales) == dict(second.scales))
    assert diff_caches(first, first).same


def test_headers_alone_make_a_difference() -> None:
    scales = {"a": 1.0}
    assert not diff_caches(Cache(HEADER, scales), Cache("TRT-8601-EntropyCalibration2", scales)).same


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(SCALES, min_size=1, max_size=4), st.sampled_from(PREFERENCES))
def test_merge_keeps_what_is_preferred(caches: list[Cache], prefer: str) -> None:
    merged = merge_caches(caches, prefer)
    choose = {"first": lambda v: v[0], "last": lambda v: v[-1], "larger": max, "smaller": min}[prefer]
    for name, scale in merged.cache.scales.items():
        assert scale == choose([cache.scales[name] for cache in caches if name in cache.scales])
    assert set(merged.cache.scales) == {name for cache in caches for name in cache.scales}
    assert list(merged.cache.scales)[: len(caches[0].scales)] == list(caches[0].scales)
    disputed = {
        name for name in merged.cache.scales if len({c.scales[name] for c in caches if name in c.scales}) > 1
    }
    assert {conflict.name for conflict in merged.conflicts} == disputed


def test_merge_lists_conflicts_and_takes_a_header() -> None:
    old = Cache("TRT-8601-EntropyCalibration2", {"a": 1.0, "b": 2.0}, "\r\n")
    new = Cache(HEADER, {"b": 3.0, "c": 4.0})
    merged = merge_caches([old, new], "last")
    assert merged.cache == Cache(HEADER, {"a": 1.0, "b": 3.0, "c": 4.0})
    (conflict,) = merged.conflicts
    assert (conflict.name, conflict.scales, conflict.kept) == ("b", (2.0, 3.0), 3.0)
    assert merge_caches([old, new], "larger").cache.header == old.header
    assert merge_caches([old, Cache(HEADER, {"c": 1.0}), new], "first").conflicts[1].scales == (
        None,
        1.0,
        4.0,
    )
    with pytest.raises(OptionError, match="preference"):
        merge_caches([old, new], "newest")
    with pytest.raises(OptionError, match="no cache"):
        merge_caches([], "first")


def test_set_version() -> None:
    cache = Cache("TRT-8602-MinMaxCalibration", {"a": np.float32(0.1).item()}, "\r\n")
    assert dumps(set_cache_version(cache, "10.3")) == b"TRT-100300-MinMaxCalibration\na: 3dcccccd\n"
    assert set_cache_version(cache, algorithm="EntropyCalibration2").header == "TRT-8602-EntropyCalibration2"
    assert set_cache_version(cache, "8.5.1", "EntropyCalibration").header == "TRT-8501-EntropyCalibration"
    legacy = Cache("0" + "3ff0000000000000" * 2, cache.scales)
    assert set_cache_version(legacy, "8.6").header == "TRT-8600-EntropyCalibration2"
    with pytest.raises(OptionError, match="names no version"):
        set_cache_version(legacy, algorithm="EntropyCalibration2")
    with pytest.raises(OptionError, match="neither"):
        set_cache_version(cache)
    with pytest.raises(OptionError, match="no INT8 calibrators"):
        set_cache_version(cache, "11")


def test_rename() -> None:
    cache = Cache(HEADER, {"a": 1.0, "b": 2.0, "c": 3.0}, "\r\n")
    renamed = rename_tensors(cache, {"a": "b", "b": "a", "x": "y", "c": "c"})
    assert list(renamed.cache.scales.items()) == [("b", 1.0), ("a", 2.0), ("c", 3.0)]
    assert (renamed.count, renamed.unknown, renamed.cache.newline) == (2, ("x",), "\n")
    with pytest.raises(CacheError, match="'a' and 'c' would both be named 'c'"):
        rename_tensors(cache, {"a": "c"})
