"""A figure as a file, in a page and in a notebook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from helpers import svg

from onnx_trtcal.errors import CalibrationError, OptionError
from onnx_trtcal.figures import STYLE, Figure, sparkline
from onnx_trtcal.figures.svg import escaped

if TYPE_CHECKING:
    from pathlib import Path

FIGURE = Figure("a < b", "it's \x1b[31m & \uffff", '<path class="b" d="M0 0h1z"/>', 100, 50)


def test_names_are_escaped_and_read_out() -> None:
    root = svg.parse(FIGURE.markup)
    assert root.find("title").text == "a < b" and root.get("role") == "img"
    assert root.find("desc").text == "it's \\x1b[31m & \\uffff"
    assert root.get("viewBox") == "0 0 100 50" and root.get("width") is None


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", "\ufffe", "\U0001ffff", "]]>", "a\nb", "\x85", "&#0;", "‮abc"]
)
def test_whatever_a_name_holds_is_xml(text: str) -> None:
    assert svg.parse(f'<a b="{escaped(text)}">{escaped(text)}</a>').text


def test_any_number_of_figures_can_stand_in_one_page() -> None:
    assert " id=" not in FIGURE.markup and "<style" not in FIGURE.markup and "xmlns" not in FIGURE.markup
    selectors = [each for rule in re.findall(r"([^{}]+)\{", STYLE) for each in rule.strip().split(",")]
    assert selectors and all(each.startswith(".tfig") for each in selectors)
    colours = set(re.findall(r"#[0-9a-f]{6}", STYLE))
    assert {f"var(--fig-{name}," for name in ("bar", "mark", "line", "float")} == set(
        re.findall(r"var\(--fig-\w+,", STYLE)
    )
    # Readable on white and on near-black alike: 3:1 is what WCAG asks of graphics.
    for colour in colours:
        assert contrast(colour, "#ffffff") > 2.8 and contrast(colour, "#14171c") > 3, colour


def test_a_file_has_its_own_colours_light_and_dark() -> None:
    text = FIGURE.standalone
    root = svg.parse(text)
    assert root.tag == f"{svg.SVG}svg" and (root.get("width"), root.get("height")) == ("128", "78")
    assert root.get("viewBox") == "-14 -14 128 78"
    assert "var(" not in text and "currentColor" not in text.split("@media")[1]
    light, dark = root.find(f"{svg.SVG}style").text.split("@media(prefers-color-scheme:dark)")
    for rules in (light, dark):
        paper = re.search(r"paper\{fill:(#\w+)\}", rules)[1]
        ink = re.findall(r"text\{fill:(#\w+)", rules)[-1]
        assert contrast(ink, paper) > 12
        for name in ("b", "c", "f"):
            assert contrast(re.search(rf"\.{name}\{{fill:(#\w+)", rules)[1], paper) > 3
    assert text.index("<style>") < text.index("paper") < text.index('<path class="b"')


def test_notebooks_get_both_forms() -> None:
    assert FIGURE._repr_svg_() == FIGURE.standalone
    html = FIGURE._repr_html_()
    assert STYLE in html and FIGURE.markup in html and "max-width:100px" in html
    assert repr(FIGURE) == "<Figure 'a < b', 100x50>"


def test_a_figure_is_saved_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert FIGURE.save(str(path)) == path and path.read_text(encoding="utf-8") == FIGURE.standalone
    first = path.read_bytes()
    FIGURE.save(path)
    assert path.read_bytes() == first and [each.name for each in tmp_path.iterdir()] == ["a.svg"]


@pytest.mark.parametrize("name", ["a.png", "a", "a.svg/b.svg", "none/a.svg", "folder.svg"])
def test_a_path_that_will_not_do_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.svg").touch()
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises((OptionError, CalibrationError)) as caught:
        FIGURE.save(tmp_path / name)
    assert caught.value.fix
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.svg", "folder.svg"]


def test_a_sparkline_is_small_and_marks_its_threshold() -> None:
    figure = sparkline([1.0, 0.5, 0.0, 0.25], mark=0.5, title="conv", width=80, height=20)
    root = svg.parse(figure.markup)
    (path,), (mark,) = svg.styled(root, "b"), svg.styled(root, "m")
    assert svg.start(mark) == (40, 0) and len(figure.markup) < 400
    heights = [19 - y for x, y in svg.corners(path) if 0 < x < 80]
    assert {round(height) for height in heights} == {19, 10, 0, 5}
    assert not svg.styled(svg.parse(sparkline(()).markup), "b")
    assert not svg.styled(svg.parse(sparkline([0.0, float("nan")], mark=2.0).markup), "m")


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours."""
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
