from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU

from onnx_trtcal import calibrate, solve
from onnx_trtcal.methods.score import score
from onnx_trtcal.report.advice import SEVERAL_TIMES, clip_warnings, flags_for, overclipped

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration


def heavy(name: str = "x", method: str = "percentile:99") -> Calibration:
    """A tensor with a far outlier in every thousand values, and one without."""
    model = toys.model([toys.node("Tanh", [name], "y")], {name: ["n", 1000]}, {"y": ["n", 1000]})
    random = np.random.default_rng(0)
    data = [random.uniform(-1, 1, 1000).astype(np.float32) for _ in range(4)]
    for sample in data:
        sample[:5] *= 40
    return calibrate(model, data, replace(CPU, method=method))


def test_names_what_is_clipped_too_hard_and_by_how_much() -> None:
    calibration = heavy()
    found = {each.tensor: each for each in overclipped(calibration)}
    each = found["x"]
    histogram = calibration.collection.histograms["x"]
    assert each.method == "percentile:99.0" and each.threshold == calibration.thresholds["x"] < each.better
    assert (
        each.times == score(histogram, each.threshold).mse / score(histogram, each.better).mse > SEVERAL_TIMES
    )


@pytest.mark.parametrize("method", ["mse", "minmax"])
def test_has_nothing_to_say_of_methods_that_clip_no_harder_than_mse(method: str) -> None:
    assert overclipped(heavy(method=method)) == []


@pytest.mark.parametrize("name", ["x", "Input", "a b=c", "it's", "t[0]*"])
def test_what_it_says_to_pass_does_what_it_says(name: str) -> None:
    calibration = heavy(name)
    found = [each for each in overclipped(calibration) if each.tensor == name]
    flag, rule = shlex.split(flags_for(found, calibration))
    assert flag == "--method-for"
    again = calibrate(
        calibration.prepared.model.proto,
        [np.ones((1000,), np.float32)],
        replace(calibration.options, method_for=(rule,)),
    )
    assert again.scales[name].method == "mse" and again.scales["y"].method == "percentile:99.0"


def test_worst_first() -> None:
    times = [each.times for each in overclipped(heavy())]
    assert times == sorted(times, reverse=True)


def many(count: int, method: str = "percentile:99") -> Calibration:
    """So many tensors with far outliers."""
    names = [f"x{index}" for index in range(count)]
    nodes = [toys.node("Cos", [name], f"y{name}") for name in names]
    shape: list[int | str | None] = ["n", 1000]
    model = toys.model(nodes, dict.fromkeys(names, shape), [f"y{name}" for name in names])
    random = np.random.default_rng(0)
    sample = random.uniform(-1, 1, 1000).astype(np.float32)
    sample[:5] *= 40
    return calibrate(model, [dict.fromkeys(names, sample)] * 2, replace(CPU, method=method))


def test_a_few_get_a_flag_each() -> None:
    calibration = many(5)
    said = clip_warnings(overclipped(calibration), calibration)
    assert len(said) == 5 and all("pass --method-for x" in text for text in said)
    assert clip_warnings([], calibration) == []


def test_more_than_five_are_one_line_that_says_how_many_and_what_to_do() -> None:
    calibration = many(6)
    found = overclipped(calibration)
    (said,) = clip_warnings(found, calibration)
    assert said.startswith("percentile:99.0 clips 6 of 12 measured tensors too hard")
    assert "--method auto" in said and f"{found[0].times:,.0f} times at 'x0'" in said


def test_from_statistics_the_data_is_asked_for() -> None:
    first = many(6)
    calibration = solve(first.collection, first.prepared.model.proto, first.options)
    (said,) = clip_warnings(overclipped(calibration), calibration)
    assert "--method mse" in said and "with the data, by --method auto" in said
