"""The page as HTML: what stands where, escaped, the same bytes each time, and nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from helpers.pages import page_of, tensor

from onnx_trtcal.report.page.columns import columns_of
from onnx_trtcal.report.page.facts import Beside, Command, Engine, EngineKernel, Moved, Number, Page, Risk
from onnx_trtcal.report.page.html import page_html
from onnx_trtcal.report.page.measured import MeasuredBlock, MeasuredFigure

EVIL = """<script>alert("1")</script>'"&<img src=x onerror=alert(1)>\u202e\n{{ 7 * 7 }}</template>-->"""


class Elements(HTMLParser):
    """The elements of a document, the text that is shown, and elements that are not closed."""

    VOID = frozenset({"meta", "input", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def parsed(page: Page) -> Elements:
    elements = Elements(page_html(page).decode())
    assert not elements.open
    return elements


def evil_page() -> Page:
    """A page whose every text is an attack."""
    bad = replace(
        tensor(0, EVIL),
        node=EVIL,
        op=EVIL,
        members=((EVIL, EVIL),),
        precision="float",
        why=EVIL,
        beside=Beside(0.5, 2.0),
        moved=Moved(tensor(1).histogram, 1.0, 2.0, 1.5),
        harm=3.0,
        rank=1,
    )
    bad = replace(bad, flags=tuple(replace(flag, word=EVIL, meaning=EVIL) for flag in tensor(3).flags))
    bad = replace(bad, thresholds=tuple(replace(each, label=EVIL) for each in bad.thresholds))
    page = page_of(bad, model=EVIL)
    verdict = replace(
        page.verdict,
        headline=EVIL,
        because=EVIL,
        risks=(Risk("bad", EVIL, "t0"),),
        next=(Command(EVIL, EVIL),),
    )
    engine = Engine(
        EVIL,
        True,
        (EVIL,),
        (Number(EVIL, EVIL, EVIL),),
        (EngineKernel(EVIL, EVIL, EVIL, 5, (EVIL,)),),
        ((EVIL, EVIL),),
    )
    return replace(
        page,
        subtitle=EVIL,
        verdict=verdict,
        numbers=(Number(EVIL, EVIL, EVIL),),
        files=((EVIL, "1 kB"),),
        commands=(Command(EVIL, EVIL),),
        blocks=(MeasuredBlock(EVIL, 3.0, True), MeasuredBlock("b", 30.0, False)),
        figures=(MeasuredFigure(EVIL, 0.9, 0.8, True),),
        float_layers=((EVIL, (EVIL,)),),
        earlier=EVIL,
        engine=engine,
        origin=((EVIL, EVIL),),
        steps=((EVIL, EVIL, EVIL, True),),
    )


def test_names_cannot_become_markup() -> None:
    clean, attacked = parsed(page_of(tensor(0))), parsed(evil_page())
    # One script, the page's own, and no element or attribute that was not written by us.
    assert len(attacked.all("script")) == len(clean.all("script")) == 1
    assert not attacked.all("img")
    attributes = {name for _, each in attacked.found for name in each}
    assert not {name for name in attributes if name.startswith("on")}
    # What was said is still there to be read, on one line, in one direction, and no template of Jinja's.
    assert '<script>alert("1")</script>' in attacked.text
    assert "{{ 7 * 7 }}" in attacked.text and "\u202e" not in attacked.text and r"\u202e" in attacked.text


def test_names_that_utf8_does_not_have_are_written_out() -> None:
    assert r"a\udcffb" in parsed(page_of(tensor(0, "a\udcffb"))).text


def test_nothing_comes_from_elsewhere() -> None:
    text = page_html(evil_page()).decode()
    elements = Elements(text)
    links = [each.get(name) for _, each in elements.found for name in ("src", "href", "srcset", "action")]
    assert all(link.startswith("#") for link in links if link is not None)
    assert not elements.all("link") and not elements.all("iframe")
    for outside in ("@import", "url(", "fetch(", "XMLHttpRequest", "import("):
        assert outside not in text, outside
    (policy,) = (each["content"] for each in elements.all("meta") if "http-equiv" in each)
    assert policy is not None and policy.startswith("default-src 'none'")


def test_the_same_page_gives_the_same_bytes() -> None:
    first, second = (page_html(page_of(*(tensor(at) for at in range(4)))) for _ in range(2))
    assert first == second


def test_every_link_and_every_key_leads_to_a_row_with_a_template() -> None:
    tensors = [replace(tensor(at), rank=at + 1, harm=12.0) for at in range(12)]
    elements = parsed(page_of(*tensors))
    rows = {each["id"] for each in elements.all("tr") if "id" in each}
    assert rows == {each.key for each in tensors}
    assert {each["id"] for each in elements.all("template")} == {f"d-{key}" for key in rows}
    keys = {each["data-key"] for _, each in elements.found if "data-key" in each}
    assert keys == rows
    identifiers = [each["id"] for _, each in elements.found if "id" in each]
    assert len(identifiers) == len(set(identifiers))
    targets = {each["href"] for each in elements.all("a")}
    assert {target.removeprefix("#") for target in targets if target} <= set(identifiers)


def test_controls_have_names_and_cells_have_heads() -> None:
    elements = parsed(page_of(tensor(0), tensor(3)))
    assert all(each.get("aria-label") for each in elements.all("input"))
    tags = [name for name, _ in elements.found]
    assert all(tags[at + 1] == "title" for at, name in enumerate(tags) if name == "svg")
    heads = [each for each in elements.all("th") if "scope" not in each]
    assert not heads


def test_columns_are_those_that_say_something() -> None:
    plain = page_of(tensor(0))
    names = [column.name for column in columns_of(plain)]
    assert "error" in names and "moved" not in names and "cache" not in names
    fuller = page_of(replace(tensor(0), beside=Beside(1.0, 1.5), moved=Moved(None, 1.0, 1.0, 2.5)))
    columns = {column.name: column for column in columns_of(fuller)}
    assert "moved" in columns and "amax" not in columns, "spare columns give way"
    assert [columns[name].shown(fuller.tensors[0]) for name in ("cache", "moved")] == ["+50.0 %", "×2.5"]
    assert sum(not column.wide for column in columns.values()) == 2, "a phone has room for two"


@pytest.mark.parametrize(
    ("sqnr", "key"), [(float("inf"), "1e+09"), (float("-inf"), "-1e+09"), (None, ""), (float("nan"), "")]
)
def test_infinities_can_be_sorted(sqnr: float | None, key: str) -> None:
    (column,) = (each for each in columns_of(page_of(tensor(0))) if each.name == "error")
    assert column.sort_key(replace(tensor(0), sqnr=sqnr)) == key


def test_a_page_of_a_cache_alone_has_no_pictures_of_ranges() -> None:
    bare = replace(tensor(0), histogram=None, thresholds=(), amax=None, values=0, weights=None, flags=())
    elements = parsed(page_of(bare))
    assert "scale" in elements.text and not re.search("Magnitudes", elements.text)


def test_500_tensors_stay_below_5_megabytes() -> None:
    tensors = [replace(tensor(at % 40), key=f"t{at}") for at in range(500)]
    sizes = [len(page_html(page_of(*tensors[:count]))) for count in (20, 40)]
    each = (sizes[1] - sizes[0]) / 20
    assert sizes[0] + each * 480 < 5e6
