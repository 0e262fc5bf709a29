"""Error over depth, what runs in INT8, and sensitivity, all on one axis."""

from __future__ import annotations

import math
import re

import pytest
from helpers import svg
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.figures import Network, NetworkPoint, network_figure

POINTS = (
    NetworkPoint("input", math.inf, key="t0"),
    NetworkPoint("conv1", 40.0, "int8", sensitivity=50.0, key="t1"),
    NetworkPoint("conv2", 25.0, "int8", lost=15.0, sensitivity=30.0, key="t2"),
    NetworkPoint("nms", None, "float", key="t3"),
    NetworkPoint("out", 20.0, "float", lost=5.0, key="t4"),
)


def line(root: object) -> list[tuple[str, float, float]]:
    (path,) = svg.styled(root, "s")
    return [(way, float(x), float(y)) for way, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", path.get("d"))]


def test_points_are_in_graph_order_and_at_their_decibels() -> None:
    root = svg.parse(network_figure(Network(POINTS)).markup)
    drawn = line(root)
    # A gap where nothing was compared: the line starts anew.
    assert [way for way, _, _ in drawn] == ["M", "L", "L", "M"]
    centres = [x for _, x, _ in drawn]
    hits = [float(each.get("x")) + float(each.get("width")) / 2 for each in svg.styled(root, "hit")]
    assert len(hits) == 5 and hits == sorted(hits)
    assert centres == pytest.approx([hits[0], hits[1], hits[2], hits[4]], abs=0.2)
    ticks = {each.text: each.y - 4 for each in svg.texts(root) if each.anchor == "end"}
    levels = [y for _, _, y in drawn]
    assert levels == pytest.approx(
        [ticks["exact"], ticks["40"], (ticks["20"] + ticks["30"]) / 2, ticks["20"]], abs=0.2
    )
    assert ticks["exact"] < ticks["40"] < ticks["20"]  # the less noise, the higher


def test_what_a_page_finds_it_by() -> None:
    figure = network_figure(Network(POINTS))
    root = svg.parse(figure.markup)
    keyed = {each.get("data-key"): each for each in root.iter() if each.get("data-key")}
    assert list(keyed) == ["t0", "t1", "t2", "t3", "t4"]
    assert all(each.get("tabindex") == "0" for each in keyed.values())
    assert keyed["t2"].find("title").text == "conv2: 25.0 dB, INT8, 15.0 dB lost here, alone in INT8 30.0 dB"
    assert keyed["t3"].find("title").text == "nms: not compared, float"
    assert figure.interactive and root.get("role") == "group"
    still = network_figure(Network((NetworkPoint("a", 1.0),)))
    assert svg.parse(still.markup).get("role") == "img" and "data-key" not in still.markup
    linked = network_figure(Network((NetworkPoint("a", 1.0, href="#a&b"),))).markup
    assert svg.parse(linked).find("a").get("href") == "#a&b"


def test_the_strip_and_the_bars_share_the_axis() -> None:
    root = svg.parse(network_figure(Network(POINTS)).markup)
    hits = [float(each.get("x")) for each in svg.styled(root, "hit")]
    step = hits[1] - hits[0]
    strip = {}
    for each in root.iter():
        if each.get("data-mark") in ("int8", "float", "other"):
            moves = re.findall(r"M([\d.]+) [\d.]+h([\d.]+)", each.get("d"))
            strip[each.get("data-mark")] = [(float(x), float(wide)) for x, wide in moves]
    assert strip["int8"] == [(pytest.approx(hits[1], abs=0.2), pytest.approx(2 * step, abs=1.2))]
    assert strip["float"] == [(pytest.approx(hits[3], abs=0.2), pytest.approx(2 * step, abs=1.2))]
    bars = [each for each in root.iter() if each.get("data-mark") == "sensitivity"]
    heights = {each.get("class"): float(re.search(r"v-([\d.]+)", each.get("d"))[1]) for each in bars}
    assert heights["b"] == pytest.approx(heights["c"] / 10, abs=0.1)  # 20 dB are a tenth
    (worst,) = [each for each in bars if each.get("class") == "c"]
    assert hits[2] < svg.start(worst)[0] < hits[3]


def test_the_largest_losses_are_labelled() -> None:
    said = [each.text for each in svg.texts(svg.parse(network_figure(Network(POINTS)).markup))]
    assert "−15.0 dB conv2" in said and "−5.0 dB out" in said
    many = tuple(NetworkPoint(f"p{at}", 30.0, lost=float(at)) for at in range(9))
    root = svg.parse(network_figure(Network(many)).markup)
    assert sorted(each.text for each in svg.texts(root) if each.text.startswith("−")) == [
        "−6.0 dB p6",
        "−7.0 dB p7",
        "−8.0 dB p8",
    ]


def test_a_thousand_points() -> None:
    points = tuple(
        NetworkPoint(f"/model/layer{at}/Conv_output_0", 50 - at / 40, "int8", sensitivity=40.0, key=f"t{at}")
        for at in range(1000)
    )
    figure = network_figure(Network(points))
    root = svg.parse(figure.markup)
    assert len(svg.styled(root, "hit")) == len(line(root)) == 1000
    assert not svg.styled(root, "p")  # dots would be a thick line
    assert len(figure.markup) < 260_000
    unkeyed = network_figure(Network(tuple(NetworkPoint(each.name, each.sqnr) for each in points)))
    assert len(unkeyed.markup) < 20_000


def test_what_the_line_shows_can_be_said() -> None:
    markup = network_figure(Network(POINTS, measure="SQNR of each tensor by itself")).markup
    assert "SQNR of each tensor by itself; 5 tensors from the inputs to the outputs" in markup


def test_nothing_to_show_is_said() -> None:
    assert "nothing to show" in network_figure(Network(())).markup


RATIO = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(
        st.builds(
            NetworkPoint,
            name=st.text(max_size=60),
            sqnr=RATIO,
            kind=st.sampled_from(["int8", "float", "other"]),
            lost=st.floats(0, 1e9),
            sensitivity=RATIO,
            key=st.text("abc0&<\"'", max_size=3),
        ),
        min_size=1,
        max_size=12,
    ),
    width=st.sampled_from([360, 640, 960]),
)
def test_any_network_is_well_formed_and_inside_its_borders(points: list[NetworkPoint], width: int) -> None:
    figure = network_figure(Network(tuple(points)), width)
    root = svg.parse(figure.markup)
    drawn = svg.styled(root, "s")
    assert len(drawn) == any(each.sqnr is not None and not math.isnan(each.sqnr) for each in points)
    for path in drawn:
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d")):
            assert 0 <= float(x) <= width and 0 <= float(y) <= figure.height
    assert all(0 <= each.y <= figure.height for each in svg.texts(root))
