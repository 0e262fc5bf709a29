"""The page in a real browser: a headless Chromium, driven by playwright."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.pages import page_of, tensor

from onnx_trtcal import Options, calibrate, write_report
from onnx_trtcal.report.page.facts import Command
from onnx_trtcal.report.page.html import page_html

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = Path(__file__).resolve().parents[3] / "models"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]
EVIL = """<script>document.title = "owned"</script><img src="http://example.invalid/x.png">"""


class Opened:
    """A page in the browser, with whatever it said and asked for."""

    def __init__(self, browser: Any, path: Path, **view: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_page(**view)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def names(self) -> list[str]:
        """Of the rows that are shown, in the order of the table."""
        # Asked of the style: where nothing is laid out that is not seen, asking for places lays out all of it.
        script = "all => all.filter(each => getComputedStyle(each.closest('tr')).display !== 'none')"
        script += ".map(each => each.textContent)"
        return self.page.locator("#table tbody tr[id] th button").evaluate_all(script)

    def click(self, selector: str) -> None:
        self.page.locator(selector).first.click()

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 1000 tensors, one of which has a name that attacks."""
    tensors = [
        tensor(at, EVIL if at == 500 else "", "float" if at % 10 == 7 else "int8") for at in range(1000)
    ]
    tensors = [replace(each, weights=each.weights if at < 5 else None) for at, each in enumerate(tensors)]
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_bytes(page_html(page_of(*tensors)))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 70 tensors."""
    path = tmp_path_factory.mktemp("small") / "report.html"
    tensors = [tensor(at, precision="float" if at == 7 else "int8") for at in range(70)]
    path.write_bytes(page_html(page_of(*tensors)))
    return path


@pytest.fixture
def opened(browser: Any, large: Path) -> Iterator[Opened]:
    found = Opened(browser, large)
    yield found
    assert found.said == [], "the console is quiet"
    assert found.asked == [large.as_uri()], "nothing is fetched"
    assert found.page.title() == "model.onnx: INT8 report"
    found.page.close()


def test_search_and_filters_show_what_fits(opened: Opened) -> None:
    assert len(opened.names()) == 1000
    opened.page.fill("#search", "BLOCK12 conv3")
    assert opened.names() == ["/block12/conv3/Conv_output_0"]
    assert opened.page.locator("#shown").inner_text() == "1 of 1000 tensors"
    opened.page.fill("#search", "block12/bn4/")
    assert opened.names() == ["/block12/conv4/Conv_output_0"], "by a tensor that takes its scale"
    opened.page.fill("#search", "nowhere")
    assert opened.names() == [] and opened.page.locator("#none").is_visible()
    opened.click("#clear")
    assert len(opened.names()) == 1000
    opened.click("[data-filter=float]")
    assert len(opened.names()) == 100
    opened.page.fill("#search", "block3/")
    assert opened.names() == ["/block3/conv7/Conv_output_0"]
    opened.page.press("#search", "Escape")
    opened.click("[data-filter=flagged]")
    assert len(opened.names()) == 100
    assert opened.page.get_attribute("[data-filter=flagged]", "aria-pressed") == "true"


def test_heads_sort_both_ways(opened: Opened) -> None:
    def values() -> list[float]:
        cells = "#table tbody tr[id] td:nth-child(6)"
        return opened.page.locator(cells).evaluate_all("all => all.map(cell => parseFloat(cell.dataset.v))")

    opened.click("[data-sort=own]")
    assert values() == sorted(values()) and values()[0] < values()[-1]
    opened.click("[data-sort=own]")
    assert values() == sorted(values(), reverse=True)
    assert opened.page.locator("th[aria-sort=descending]").inner_text().startswith("SQNR")
    opened.click("[data-sort=order]")
    assert opened.names()[:2] == ["/block0/conv0/Conv_output_0", "/block0/conv1/Conv_output_0"]


def test_details_open_by_click_key_and_link(opened: Opened) -> None:
    page = opened.page
    opened.click("#t2 th button")
    assert opened.count(".open .tfig") == 2 and page.get_attribute("#t2 th button", "aria-expanded") == "true"
    opened.click("#t2 th button")
    assert opened.count(".open") == 0
    page.focus("#t4 th button")
    page.keyboard.press("Enter")
    assert opened.count(".open .tfig") == 2 and "(chosen)" in page.inner_text(".open")
    assert opened.count("#network [tabindex='0'][data-key]") == 1, "a picture is one stop of the tab key"
    # From the picture of the network, also to a row that a filter hides.
    opened.click("[data-filter=float]")
    page.locator("#network [data-key=t599]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert opened.count(".open") == 2 and page.locator("#t600").is_visible()
    opened.click(".risks a")
    assert page.evaluate("document.activeElement.closest('tr').id") == "t0"
    # A name that attacks is text in its row and in its details.
    page.fill("#search", "owned")
    opened.click("#t500 th button")
    assert "<script>" in page.inner_text("#t500")


def test_a_bundled_model_from_calibration_to_page(browser: Any, tmp_path: Path) -> None:
    model = MODELS / "digits_resnet.onnx"
    calibration = calibrate(model, MODELS / "digits_calib", Options(max_samples=16, provider="cpu"))
    path = write_report(tmp_path / "r.html", model, calibration)
    for view in ({}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}):
        found = Opened(browser, path, **view)
        width = found.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, "nothing sticks out of the screen"
        assert found.page.inner_text("h1").startswith("Not measured yet")
        assert len(found.names()) == 14 and found.said == [] and found.asked == [path.as_uri()]
        found.page.close()


def test_both_themes_can_be_read(browser: Any, small: Path) -> None:
    """Text against its background has a contrast of 4.5 at least (WCAG 2, level AA)."""
    for scheme in ("light", "dark"):
        found = Opened(browser, small, color_scheme=scheme)
        for selector in ("h1", ".because", ".muted", ".flag", "#t0 th button", "#t7 td.float", "#t0 small"):
            assert found.page.locator(selector).first.evaluate(_CONTRAST) >= 4.5, (scheme, selector)
        found.click("#theme")
        assert found.page.get_attribute("html", "data-theme") == {"light": "dark", "dark": "light"}[scheme]
        assert found.page.locator(".flag").first.evaluate(_CONTRAST) >= 4.5
        found.page.close()


def test_paper_has_what_is_flagged_and_no_controls(browser: Any, small: Path) -> None:
    found = Opened(browser, small)
    found.page.emulate_media(media="print")
    assert len(found.names()) == 7
    assert (
        not found.page.locator("#search").is_visible() and not found.page.locator(".copy").first.is_visible()
    )
    assert found.page.locator(".printed").is_visible()
    found.page.close()


_CONTRAST = """element => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  let behind = element;
  while (behind && (channels(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const pair = [light(channels(getComputedStyle(element).color)),
                light(channels(getComputedStyle(behind ?? document.body).backgroundColor))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


def test_a_long_name_takes_four_lines_until_it_is_opened(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.html"
    path.write_bytes(page_html(page_of(tensor(0, "long/" * 2000))))
    found = Opened(browser, path, viewport={"width": 390, "height": 844})
    button = found.page.locator("#table tbody tr[id] th button")
    assert button.bounding_box()["height"] < 120
    button.click()
    assert button.bounding_box()["height"] > 2000
    assert found.page.evaluate("document.documentElement.scrollWidth") == 390 and found.said == []
    found.page.close()


def test_a_flag_of_a_command_is_not_cut_behind_its_dashes(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "narrow.html"
    page = page_of(tensor(0))
    long = Command("build", "trtexec --onnx=" + "folder/" * 20 + "model.onnx --int8")
    path.write_bytes(page_html(replace(page, commands=(long,))))
    found = Opened(browser, path, viewport={"width": 390, "height": 844})
    # The characters of the first line of the flag: those that stand as high as its first dash.
    script = """span => {
      const range = document.createRange(), text = span.firstChild, tops = [];
      for (let at = 0; at < text.length; at++) {
        range.setStart(text, at); range.setEnd(text, at + 1);
        tops.push(range.getBoundingClientRect().top);
      }
      return tops.filter(top => top === tops[0]).length;
    }"""
    assert found.page.locator("pre span", has_text="folder").evaluate(script) > 25
    found.page.close()
