"""Ranges of weights per channel."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import svg
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnx_trtcal.figures import weight_ranges, weight_ranges_figure


def strokes(root: object) -> list[tuple[float, float, float]]:
    """Of each channel x, its upper and its lower end."""
    (path,) = svg.styled(root, "r")
    found = re.findall(r"M([\d.]+) ([\d.]+)v([\d.]+)", path.get("d"))
    return [(float(x), float(y), float(y) + float(long)) for x, y, long in found]


def level(root: object) -> object:
    """y of a value, by the ticks of the axis."""
    ticks = [
        (float(each.text.replace("−", "-")), each.y - 4) for each in svg.texts(root) if each.anchor == "end"
    ]
    (low, below), (high, above) = ticks[0], ticks[-1]
    return lambda value: below + (value - low) * (above - below) / (high - low)


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_reaches_from_its_least_to_its_largest_value(axis: int) -> None:
    weight = np.array([[-1.0, 2.0, 0.5], [0.25, 0.75, 0.5], [-3.0, -1.0, -2.0]])
    root = svg.parse(weight_ranges_figure(weight_ranges("w", np.moveaxis(weight, 0, axis), axis)).markup)
    y = level(root)
    drawn = strokes(root)
    assert [x for x, _, _ in drawn] == sorted(x for x, _, _ in drawn)
    for (_, upper, lower), row in zip(drawn, weight, strict=True):
        assert (upper, lower) == pytest.approx((y(row.max()), y(row.min())), abs=0.3)


def test_dead_channels_are_marked_and_named() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (12, 3, 3, 3))
    weight[[4, 9]] = 0
    found = weight_ranges("conv.weight", weight, 0)
    figure = weight_ranges_figure(found)
    root = svg.parse(figure.markup)
    assert found.dead == (4, 9) and "2 dead: 4, 9" in figure.description
    drawn = strokes(root)
    marked = re.findall(r"M([\d.]+) ", svg.marks(root)["dead"].get("d"))
    assert [float(x) + 3 for x in marked] == pytest.approx([drawn[4][0], drawn[9][0]], abs=0.2)


def test_more_channels_than_room_share_strokes_that_span_them() -> None:
    weight = np.linspace(-1, 1, 1000)[:, None] * np.ones((1000, 2))
    weight[700, 0] = 50.0
    weight[333] = 0
    figure = weight_ranges_figure(weight_ranges("fc", weight, 0))
    root = svg.parse(figure.markup)
    drawn = strokes(root)
    assert 200 <= len(drawn) <= 290 and len(figure.markup) < 6000
    each = -(-1000 // len(drawn))
    tallest = min(range(len(drawn)), key=lambda at: drawn[at][1])
    assert tallest == 700 // each and f"({each} to a stroke)" in figure.markup
    assert "1 dead: 333" in figure.description


def test_values_that_are_not_finite_are_counted_and_not_drawn() -> None:
    weight = np.array([[1.0, -1.0], [np.nan, 1.0], [np.inf, 0.0]])
    assert "2 not finite" in weight_ranges_figure(weight_ranges("w", weight, 0)).description
    nothing = weight_ranges_figure(weight_ranges("w", np.full((2, 2), np.nan), 0))
    assert "no finite weight" in nothing.markup


@settings(max_examples=50, deadline=None)
@given(
    weight=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.float16]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9),
    ),
    name=st.text(max_size=30),
)
def test_any_weight_is_well_formed(weight: np.ndarray, name: str) -> None:
    figure = weight_ranges_figure(weight_ranges(name, weight, 0), 480)
    root = svg.parse(figure.markup)
    assert 'd="M' in figure.markup or "no finite weight" in figure.markup
    for path in svg.styled(root, "r"):
        for x, upper, lower in strokes(root):
            assert 0 < x < 480 and 0 <= upper <= lower <= figure.height
        assert "nan" not in path.get("d") and "inf" not in path.get("d")
