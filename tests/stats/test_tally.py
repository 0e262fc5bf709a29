"""Many tensors on many threads: what one thread would count, whatever the threads do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.slow_histogram import counted

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats import tally
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.host import HostCounter


def tensors() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    sizes = (0, 1, 10, 999, 1000, 20_000, 5001, 70_000)
    arrays = [random.standard_normal(size).astype(np.float32) * (i + 1) for i, size in enumerate(sizes)]
    arrays.append(arrays[-1].astype(np.float16).reshape(7, 100, 100).transpose(1, 2, 0))
    arrays.append(arrays[-2].astype(np.float64))
    arrays[-1][[5, 60_000]] = np.nan, 1e200
    return arrays


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_threads_count_what_one_thread_counts(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "TASK", 1024)
    monkeypatch.setattr(tally.os, "cpu_count", lambda: 4)
    arrays = tensors()
    expected = [counted(array, array * 2, rule=rule) for array in arrays]
    alone = {str(k): Histogram(rule) for k in range(len(arrays))}
    threaded = {str(k): Histogram(rule) for k in range(len(arrays))}
    with ThreadPoolExecutor(4) as pool:
        for histograms, threads in ((alone, None), (threaded, pool)):
            counter = HostCounter(histograms)
            for factor in (1, 2):
                batch = {str(k): array * factor for k, array in enumerate(arrays)}
                assert counter.add(batch, threads) == [str(len(arrays) - 1)]
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
