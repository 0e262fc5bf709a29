from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.tied import tied_histograms

VALUES = {name: np.random.default_rng(seed).normal(size=50) * 10**seed for seed, name in enumerate("abc")}


def collected(rule: str = "stable") -> Collection:
    collection = Collection(list(VALUES), model="m", rule=rule)
    collection.add(["s"], ["h"], VALUES)
    return collection


def test_tied_tensors_share_the_histogram_of_all_their_values() -> None:
    collection = collected()
    both = Histogram()
    both.add(np.concatenate([VALUES["a"], VALUES["c"]]))
    histograms = tied_histograms([("a", "c")], collection)
    assert list(histograms) == ["a", "b", "c"]
    assert histograms["a"] == histograms["c"] == both
    assert histograms["b"] == collection.histograms["b"]
    assert collection == collected()


def test_without_ties_all_is_as_it_was_counted() -> None:
    collection = collected("tensorrt")
    assert tied_histograms([], collection) == collection.histograms
    with pytest.raises(StatisticsError, match="cannot be merged"):
        tied_histograms([("a", "b")], collection)
