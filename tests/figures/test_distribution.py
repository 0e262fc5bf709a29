"""The distribution of a tensor: every mark is where its value is, and no label covers another."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from helpers import svg
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_trtcal.figures import Distribution, Mark, columns, distribution_figure

METHODS = ("entropy", "minmax", "percentile:99.99", "legacy:0.999999", "mse", "auto")
FINITE = st.floats(0, 3.4e38, allow_subnormal=False)


def counted(values: np.ndarray, bins: int = 32768) -> tuple[np.ndarray, float, float]:
    """Counts over [0, next power of two], the width of a bin and the largest value."""
    amax = float(values.max())
    width = 2.0 ** math.ceil(math.log2(amax)) / bins
    return np.bincount(np.minimum((values / width).astype(int), bins - 1), minlength=bins), width, amax


def gaussian(marks: tuple[Mark, ...] = (), **options: object) -> Distribution:
    values = np.abs(np.random.default_rng(3).normal(0, 1, 60_000))
    counts, width, amax = counted(values)
    return Distribution("conv", counts, width, amax, marks, **options)


def position(root: object) -> object:
    """x of a value, by the ticks of the axis."""
    ticks = [each for each in svg.texts(root) if each.anchor == "middle"]
    (low, high) = ticks[0], ticks[-1]
    scale = (high.x - low.x) / (float(high.text) - float(low.text))
    return lambda value: low.x + (value - float(low.text)) * scale


def test_every_threshold_is_where_its_value_is() -> None:
    marks = tuple(Mark(name, 0.6 + 0.5 * at, name == "mse") for at, name in enumerate(METHODS))
    shown = gaussian(marks)
    root = svg.parse(distribution_figure(shown).markup)
    x, found = position(root), svg.marks(root)
    assert set(found) == {"amax", *METHODS}
    for mark in marks:
        assert svg.start(found[mark.label])[0] == pytest.approx(x(mark.value), abs=0.11)
        assert found[mark.label].get("class") == ("m" if mark.chosen else "l")
    assert svg.start(found["amax"])[0] == pytest.approx(x(shown.amax), abs=0.11)
    bold = [each.text for each in svg.texts(root) if each.style == "e"]
    assert bold == ["mse 2.6"]


def test_what_is_beyond_the_chosen_threshold_is_clipped_and_nothing_else() -> None:
    shown = gaussian((Mark("entropy", 2.05, chosen=True), Mark("mse", 3.0)))
    root = svg.parse(distribution_figure(shown).markup)
    cut = position(root)(2.05)
    (kept,), (clipped,) = svg.styled(root, "b"), svg.styled(root, "c")
    assert max(x for x, _ in svg.corners(kept)) == pytest.approx(cut, abs=0.11)
    assert min(x for x, _ in svg.corners(clipped)) == pytest.approx(cut, abs=0.11)
    unclipped = svg.parse(distribution_figure(gaussian((Mark("mse", 2.05),))).markup)
    assert not svg.styled(unclipped, "c")


def test_heights_are_the_logarithms_of_counts() -> None:
    counts = np.zeros(8, np.int64)
    counts[[0, 2, 7]] = 1000, 10, 1
    root = svg.parse(distribution_figure(Distribution("x", counts, 1.0, 8.0)).markup)
    (path,) = svg.styled(root, "b")
    base = svg.start(path)[1]
    heights = sorted({base - y for _, y in svg.corners(path)} - {0})
    assert len(heights) == 3
    decade = (heights[2] - heights[0]) / 3
    assert heights[1] - heights[0] == pytest.approx(decade, abs=1.1)
    assert heights[0] == pytest.approx(decade * math.log10(2), abs=1.1)  # a single value is not nothing
    # The grid says the same.
    ticks = {each.text: each.y for each in svg.texts(root) if each.anchor == "end"}
    assert ticks["1"] - ticks["10"] == pytest.approx(decade, abs=1.1) and "1k" in ticks


def test_columns_stand_on_the_axis_where_their_values_are() -> None:
    counts = np.zeros(1024, np.int64)
    counts[[100, 768]] = 5, 9
    root = svg.parse(distribution_figure(Distribution("x", counts, 8 / 1024, 8.0)).markup)
    x = position(root)
    (path,) = svg.styled(root, "b")
    found = svg.corners(path)
    edges = [
        (left, right) for (left, y), (right, same) in itertools.pairwise(found) if y == same < found[0][1]
    ]
    assert all(
        left <= x((at + 0.5) / 128) <= right for (left, right), at in zip(edges, (100, 768), strict=True)
    )
    assert all(right - left == 4 for left, right in edges)


@given(
    values=st.lists(st.floats(1e-6, 50), min_size=1, max_size=60),
    most=st.integers(1, 200),
)
def test_columns_hold_every_value_once(values: list[float], most: int) -> None:
    counts, width, amax = counted(np.array(values), 256)
    found = columns(counts, width, amax, most)
    assert sum(found.counts) == len(values) and len(found.counts) == most
    centres = (np.flatnonzero(counts) + 0.5) * width
    expected, _ = np.histogram(
        np.minimum(centres, amax), bins=most, range=(0, amax), weights=counts[counts > 0]
    )
    # A centre on the border of two columns may be counted in either.
    assert np.abs(np.cumsum(expected) - np.cumsum(found.counts)).max() <= counts.max()
    assert all(0 <= height <= 1 for height in found.heights) and max(found.heights) == 1


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 9), min_size=1, max_size=8),
    chosen=st.integers(0, 7),
    width=st.sampled_from([480, 640, 960]),
)
@example([0.0, 2.0, 2.0, 4.0, 0.0, 0.0, 4.0, 6.0], 0, 480)
@example([2.0, 2.0, 4.0, 6.0, 4.0], 0, 480)
def test_labels_never_overlap_and_no_line_crosses_one(values: list[float], chosen: int, width: int) -> None:
    names = [*METHODS, "easyquant", "mxnet"]
    marks = tuple(Mark(names[at], value, at == chosen) for at, value in enumerate(values))
    root = svg.parse(distribution_figure(gaussian(marks), width).markup)
    words = svg.texts(root)
    for at, one in enumerate(words):
        left, top, right, bottom = one.box
        assert left >= -1 and right <= width + 1, one
        for other in words[at + 1 :]:
            apart = right <= other.box[0] or other.box[2] <= left or bottom <= other.box[1]
            assert apart or other.box[3] <= top, (one, other)
        for path in svg.marks(root).values():
            x, y, base = *svg.start(path), float(path.get("d").partition("V")[2])
            assert not (left < x < right and y < bottom and top < base), (one, path.attrib)


def test_thresholds_that_coincide_share_a_label() -> None:
    shown = gaussian((Mark("entropy", 3.0, chosen=True), Mark("mse", 3.0), Mark("minmax", 3.0)))
    said = [each.text for each in svg.texts(svg.parse(distribution_figure(shown).markup))]
    assert "entropy 3, minmax, mse" in said


def test_a_threshold_far_beyond_is_marked_at_the_border() -> None:
    shown = gaussian((Mark("cache", 4e6, chosen=True), Mark("mse", 3.0)))
    root = svg.parse(distribution_figure(shown).markup)
    found = svg.marks(root)
    assert svg.start(found["cache"])[0] == svg.start(found["amax"])[0]
    assert any(each.text == "cache 4e+06 →" for each in svg.texts(root))
    assert not svg.styled(root, "c")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no value was seen in any sample"),
        ({"zeros": 1234}, "only zeros were seen: 1,234"),
        ({"nan": 5, "inf": 2}, "no finite value was seen: 5 NaN, 2 infinite"),
    ],
)
def test_where_there_is_nothing_to_draw_it_is_said(options: dict[str, int], said: str) -> None:
    nothing = Distribution(
        "x", np.zeros(2048, np.int64), 0.0, 0.0, (Mark("mse", 0.0, chosen=True),), **options
    )
    figure = distribution_figure(nothing)
    assert said in [each.text for each in svg.texts(svg.parse(figure.markup))]
    assert figure.description == said


@settings(max_examples=60, deadline=None)
@given(
    name=st.text(max_size=80),
    amax=st.one_of(FINITE, st.just(1.7e308), st.just(5e-324)),
    count=st.integers(1, 2**62),
    at=st.integers(0, 31),
    thresholds=st.lists(st.one_of(FINITE, st.just(math.inf), st.just(0.0)), max_size=3),
    note=st.text(max_size=20),
)
def test_any_name_and_any_histogram_are_well_formed(
    name: str, amax: float, count: int, at: int, thresholds: list[float], note: str
) -> None:
    counts = np.zeros(32, np.int64)
    counts[at] = count
    marks = tuple(Mark(name or METHODS[i], value, i == 0) for i, value in enumerate(thresholds))
    shown = Distribution(name, counts, amax / 32, amax, marks, note=note)
    figure = distribution_figure(shown)
    for text in (figure.markup, figure.standalone):
        root = svg.parse(text)
        assert "nan" not in text.replace(name, "") or "nan" in note
        assert root.get("role") == "img"
    assert distribution_figure(shown) == figure


def test_the_heading_can_be_left_to_the_page() -> None:
    with_heading = distribution_figure(gaussian(note="said"))
    without = distribution_figure(gaussian(note="said", heading=False))
    shown = [each.text for each in svg.texts(svg.parse(without.markup))]
    assert "said" not in shown and "conv" not in shown and without.height == with_heading.height - 38
    assert without.title == "Distribution of conv"


def test_a_histogram_takes_less_than_three_thousand_bytes() -> None:
    marks = tuple(Mark(name, 1.3 + 0.4 * at, at == 2) for at, name in enumerate(METHODS))
    rough = np.random.default_rng(0).integers(1, 10**6, 32768)
    worst = Distribution("/model/layers.11/self_attn/Softmax_output_0", rough, 1 / 8192, 4.0, marks)
    assert len(distribution_figure(worst).markup.encode()) < 3000
