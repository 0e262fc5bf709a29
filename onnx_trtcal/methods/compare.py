"""Every tensor against every method: what each threshold would keep, and at what error."""

from __future__ import annotations

import csv
import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError, did_you_mean
from onnx_trtcal.figures.columns import columns
from onnx_trtcal.methods.method import Method, parse_method
from onnx_trtcal.methods.registry import METHODS
from onnx_trtcal.methods.score import Score, score
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Row", "column_names", "comparable_methods", "compare_methods", "csv_text", "sort_rows"]

Value = str | float

_HEIGHTS = 16


@dataclass(frozen=True)
class Row:
    """One observed tensor under every method.

    Attributes:
        tensor: its name.
        op: the op type that makes it (`Input` for the graph's inputs).
        values: how many finite values were counted.
        amax: the largest magnitude.
        thresholds: per method.
        scores: per method, what the threshold does to the tensor.
        heights: the distribution of its magnitudes up to amax: counts on a logarithmic scale, as shares (0 to 1) of
            the largest.
    """

    tensor: str
    op: str
    values: int
    amax: float
    thresholds: Mapping[str, float]
    scores: Mapping[str, Score]
    heights: tuple[float, ...] = ()

    @property
    def best(self) -> str:
        """The method with the smallest error; the first of several equal ones."""
        return min(self.scores, key=lambda method: self.scores[method].mse)

    @property
    def spread(self) -> float:
        """The SQNR of the best method less that of the worst, in dB; 0 where no method loses anything."""
        values = [each.sqnr for each in self.scores.values()]
        return max(values) - min(values) if min(values) < math.inf else 0.0

    def cells(self) -> dict[str, Value]:
        """The row by column name, as `column_names` lists them."""
        cells: dict[str, Value] = {
            "tensor": self.tensor,
            "op": self.op,
            "values": self.values,
            "amax": self.amax,
            "best": self.best,
            "spread": self.spread,
        }
        for method, threshold in self.thresholds.items():
            cells[f"{method}.threshold"] = threshold
            cells[f"{method}.clipped"] = self.scores[method].clipped
            cells[f"{method}.sqnr"] = self.scores[method].sqnr
        return cells


def comparable_methods(texts: Sequence[str] = ()) -> list[Method]:
    """The methods to compare: those named, else every one that needs nothing but the histogram.

    Raises:
        OptionError: when there is no such method, or it needs more than the statistics hold.
    """
    methods = [parse_method(text) for text in dict.fromkeys(texts)]
    for method in methods:
        if method.needs != "histogram":
            raise OptionError(
                f"method {method.name} needs more than the statistics file holds",
                fix=f"calibrate with --method {method.name} and compare the caches: onnx-trtcal cache diff",
            )
    return methods or [parse_method(name) for name, each in METHODS.items() if each.needs == "histogram"]


def compare_methods(
    histograms: Mapping[str, Histogram],
    op_types: Mapping[str, str],
    methods: Sequence[Method],
    threads: int | None = None,
) -> list[Row]:
    """Solves and scores every tensor with every method.

    Args:
        histograms: per observed tensor.
        op_types: per observed tensor, the op type that makes it.
        methods: see `comparable_methods`.
        threads: at most so many tensors at a time; None for one per core.

    Returns:
        Rows in the order of `histograms`.
    """

    def row(tensor: str) -> Row:
        histogram = histograms[tensor]
        thresholds = {str(method): method.solve(histogram) for method in methods}
        scores = {method: score(histogram, threshold) for method, threshold in thresholds.items()}
        heights = columns(histogram.counts, histogram.width, histogram.amax, _HEIGHTS).heights
        return Row(
            tensor, op_types[tensor], histogram.total, histogram.amax, thresholds, scores, tuple(heights)
        )

    with ThreadPoolExecutor(threads or cores()) as pool:
        return list(pool.map(row, histograms))


def column_names(methods: Iterable[Method]) -> list[str]:
    """The names of a row's cells."""
    of_methods = [f"{method}.{what}" for method in methods for what in ("threshold", "clipped", "sqnr")]
    return ["tensor", "op", "values", "amax", "best", "spread", *of_methods]


def sort_rows(rows: Sequence[Row], column: str, known: Sequence[str]) -> list[Row]:
    """The rows sorted by a column: text from A to Z, SQNR from the worst, other numbers from the largest.

    Raises:
        OptionError: when there is no such column.
    """
    if column not in known:
        raise OptionError(
            f"{column!r} is not a column", fix=did_you_mean(column, known) or f"sort by {', '.join(known)}"
        )
    falling = column in ("values", "amax", "spread") or column.endswith((".threshold", ".clipped"))
    return sorted(rows, key=lambda row: row.cells()[column], reverse=falling)


def csv_text(rows: Iterable[Row], known: Sequence[str]) -> str:
    """The rows as CSV with a head line; numbers in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(known)
    writer.writerows([row.cells()[column] for column in known] for row in rows)
    return text.getvalue()
