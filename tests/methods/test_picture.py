"""From a histogram to what a figure shows of it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import svg

from onnx_trtcal.figures import distribution_figure
from onnx_trtcal.methods.picture import distribution, solved_thresholds, spark
from onnx_trtcal.methods.score import score
from onnx_trtcal.stats.histogram import Histogram


def histogram(values: object, rule: str = "stable") -> Histogram:
    found = Histogram(rule)
    found.add(np.asarray(values, np.float32))
    return found


@pytest.fixture(scope="module")
def relu() -> Histogram:
    return histogram(np.maximum(np.random.default_rng(5).normal(0, 1, 20_000), 0))


def test_every_method_of_the_histogram_alone_has_its_threshold(relu: Histogram) -> None:
    found = solved_thresholds(relu)
    assert set(found) == {"entropy", "minmax", "percentile:99.99", "legacy:0.999999", "mse"}
    assert found["minmax"] == pytest.approx(relu.amax)


def test_what_the_chosen_method_does_is_noted(relu: Histogram) -> None:
    thresholds = {"auto": 2.0, "mse": 3.0}
    shown = distribution("relu", relu, thresholds, "auto")
    assert [(mark.label, mark.value, mark.chosen) for mark in shown.marks] == [
        ("auto", 2.0, True),
        ("mse", 3.0, False),
    ]
    expected = score(relu, 2.0)
    assert shown.note.startswith(
        f"auto keeps |x| up to 2 of {relu.amax:.4g}, clips {100 * expected.clipped:.3g} %: SQNR {expected.sqnr:.1f} dB"
    )
    assert f"{100 * relu.zeros / relu.total:.3g} % zeros" in shown.note
    # Less than half a step of INT8 beyond the threshold is as good as kept.
    assert "keeps everything" in distribution("relu", relu, {"mse": relu.amax * 0.998}, "mse").note
    assert distribution("relu", relu, thresholds).note == shown.note.partition("; ")[2]


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_both_range_rules_are_drawn(rule: str) -> None:
    values = np.random.default_rng(2).laplace(0, 1, 5000)
    found = histogram(values, rule)
    figure = distribution_figure(distribution("x", found, solved_thresholds(found), "entropy"))
    root = svg.parse(figure.markup)
    assert svg.styled(root, "m") and svg.styled(root, "b") and len(figure.markup) < 3000


@pytest.mark.parametrize(
    "values", [[], [0.0] * 9, [np.nan, np.inf], [3.0] * 7, [1e-38, 3e38], [1e-45], [np.nan, 1.0, -2.0, 0.0]]
)
def test_odd_tensors_have_a_picture(values: list[float]) -> None:
    found = histogram(values)
    thresholds = solved_thresholds(found)
    figure = distribution_figure(distribution("odd", found, thresholds, "entropy"))
    svg.parse(figure.standalone)
    svg.parse(spark(found, thresholds["entropy"]).markup)
    assert figure.description


def test_a_sparkline_marks_the_threshold(relu: Histogram) -> None:
    figure = spark(relu, relu.amax / 2)
    (mark,) = svg.styled(svg.parse(figure.markup), "m")
    assert svg.start(mark)[0] == figure.width / 2
    assert svg.start(svg.styled(svg.parse(spark(relu, 99.0).markup), "m")[0])[0] == figure.width - 1
