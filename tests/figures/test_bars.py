"""Horizontal bars, and noise as a length."""

from __future__ import annotations

import math

import pytest
from helpers import svg
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.figures import Bar, BarChart, bar_figure, noise_bars
from onnx_trtcal.figures.noise import decibels_text, noise_share


def lengths(root: object) -> list[tuple[str, float]]:
    return [
        (each.get("class"), float(each.get("width")))
        for each in root.iter()
        if each.tag == "rect" and each.get("class") != "hit"
    ]


def test_a_bar_is_as_long_as_the_noise_is_large() -> None:
    chart = noise_bars("s", [("a", 20.0), ("b", 40.0), ("c", 26.02), ("d", math.inf)])
    root = svg.parse(bar_figure(chart).markup)
    found = lengths(root)
    assert [style for style, _ in found] == [
        "c",
        "b",
        "b",
    ]  # the worst is emphasised; what is exact has no bar
    full = found[0][1]
    assert [long / full for _, long in found] == pytest.approx([1, 0.1, 0.5], abs=0.01)
    said = [each.text for each in svg.texts(root)]
    assert said[2:] == ["a", "20.0 dB", "b", "40.0 dB", "c", "26.0 dB", "d", "exact"]


def test_what_is_no_verdict_is_muted_and_never_the_worst() -> None:
    chart = noise_bars("s", [("tiny", -math.inf), ("box", 30.0), ("score", 10.0)], muted=[0])
    assert [(bar.muted, bar.emphasis) for bar in chart.bars] == [(True, False), (False, False), (False, True)]
    assert [style for style, _ in lengths(svg.parse(bar_figure(chart).markup))] == ["o", "b", "c"]


def test_rows_are_found_by_their_keys() -> None:
    figure = bar_figure(noise_bars("s", [("a", 20.0), ("b", 40.0)], keys=["g0", "g1"]))
    root = svg.parse(figure.markup)
    assert [each.get("data-key") for each in root.iter() if each.get("data-key")] == ["g0", "g1"]
    assert figure.interactive and len(svg.styled(root, "hit")) == 2


@settings(max_examples=60, deadline=None)
@given(
    bars=st.lists(
        st.builds(
            Bar,
            label=st.text(max_size=90),
            length=st.floats(allow_nan=True),
            text=st.text(max_size=12),
            emphasis=st.booleans(),
        ),
        max_size=12,
    ),
    width=st.sampled_from([360, 640]),
)
def test_labels_stay_left_of_their_bars_and_inside(bars: list[Bar], width: int) -> None:
    figure = bar_figure(BarChart("t", tuple(bars), heading=False), width)
    root = svg.parse(figure.markup)
    for each in svg.texts(root):
        assert each.box[0] >= 0 and each.box[2] <= width + 1 and each.y < figure.height
    for each in root.iter("rect"):
        assert 0 <= float(each.get("width")) <= width


def test_noise_is_relative_to_the_signal() -> None:
    assert noise_share(20.0) == pytest.approx(0.1) and noise_share(0.0) == noise_share(-math.inf) == 1
    assert noise_share(math.inf) == noise_share(None) == noise_share(math.nan) == 0
    assert [decibels_text(each) for each in (31.25, math.inf, -math.inf, None)] == [
        "31.2 dB",
        "exact",
        "nothing but noise",
        "not compared",
    ]
