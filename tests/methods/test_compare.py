from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.methods import METHODS
from onnx_trtcal.methods.compare import (
    Row,
    column_names,
    comparable_methods,
    compare_methods,
    csv_text,
    sort_rows,
)
from onnx_trtcal.methods.score import score
from onnx_trtcal.stats.histogram import Histogram


def histogram(values: np.ndarray) -> Histogram:
    made = Histogram()
    made.add(values.astype(np.float32))
    return made


RANDOM = np.random.default_rng(0)
HISTOGRAMS = {
    "tails": histogram(RANDOM.standard_t(2, 5000)),
    "even": histogram(RANDOM.uniform(-1, 1, 5000)),
    "zeros": histogram(np.zeros(10)),
}
OPS = {"tails": "Add", "even": "Input", "zeros": "Relu"}
METHODS_COMPARED = comparable_methods(["minmax", "percentile:99", "mse"])
KNOWN = column_names(METHODS_COMPARED)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return compare_methods(HISTOGRAMS, OPS, METHODS_COMPARED)


def test_every_tensor_against_every_method(rows: list[Row]) -> None:
    assert [row.tensor for row in rows] == list(HISTOGRAMS)
    for row in rows:
        one = HISTOGRAMS[row.tensor]
        assert (row.op, row.values, row.amax) == (OPS[row.tensor], one.total, one.amax)
        assert list(row.thresholds) == list(row.scores) == ["minmax", "percentile:99.0", "mse"]
        for method in METHODS_COMPARED:
            assert row.thresholds[str(method)] == method.solve(one)
            assert row.scores[str(method)] == score(one, row.thresholds[str(method)])


def test_the_best_has_the_smallest_error(rows: list[Row]) -> None:
    tails, _, zeros = rows
    assert tails.best == "mse" and tails.spread > 10
    assert zeros.best == "minmax" and zeros.spread == 0
    assert min(each.mse for each in tails.scores.values()) == tails.scores["mse"].mse


def test_default_methods_are_those_that_need_nothing_else() -> None:
    names = [method.name for method in comparable_methods()]
    assert {"entropy", "minmax", "percentile", "mse"} <= set(names) and "mxnet" not in names
    assert names == [name for name in METHODS if name in names]
    with pytest.raises(OptionError, match="mxnet needs more"):
        comparable_methods(["mse", "mxnet"])
    assert len(comparable_methods(["mse", "mse"])) == 1


def test_cells_are_named_by_the_columns(rows: list[Row]) -> None:
    for row in rows:
        assert list(row.cells()) == KNOWN


@pytest.mark.parametrize("column", KNOWN)
def test_sorting_puts_the_worst_first(rows: list[Row], column: str) -> None:
    values = [row.cells()[column] for row in sort_rows(rows, column, KNOWN)]
    rising = column in ("tensor", "op", "best") or column.endswith(".sqnr")
    assert values == sorted(values, reverse=not rising)


def test_an_unknown_column(rows: list[Row]) -> None:
    with pytest.raises(OptionError, match="is not a column") as refusal:
        sort_rows(rows, "mse.sqn", KNOWN)
    assert "'mse.sqnr'" in refusal.value.fix


def test_csv_keeps_every_digit(rows: list[Row]) -> None:
    read = list(csv.DictReader(csv_text(rows, KNOWN).splitlines()))
    for row, line in zip(rows, read, strict=True):
        for column, value in row.cells().items():
            assert line[column] == value if isinstance(value, str) else float(line[column]) == value
    assert math.isinf(float(read[2]["mse.sqnr"]))
