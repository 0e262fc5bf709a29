"""A part of the data, by the positions of its samples."""

from __future__ import annotations

import numpy as np

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.support.input_spec import InputSpec

INPUT = InputSpec("x", np.dtype(np.float32), ("batch", 2))
ROWS = np.arange(14, dtype=np.float32).reshape(7, 2)


def firsts(source: object) -> list[float]:
    return [float(sample.arrays["x"][0]) for sample in source]  # type: ignore[attr-defined]


def test_only_the_samples_at_some_positions_are_given() -> None:
    source = open_source(ROWS, [INPUT])
    chosen = source.only([5, 0, 2])
    assert firsts(chosen) == [0.0, 4.0, 10.0]
    assert chosen.count == 3
    assert firsts(source) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert source.count == 7


def test_positions_count_what_max_samples_leaves() -> None:
    assert firsts(open_source(ROWS, [INPUT], max_samples=3).only([1, 6])) == [2.0]
