"""The page as one HTML file that opens from disk: style, script and pictures are inside, and nothing is fetched.

Names come from models and files: whatever a template prints is escaped, and so is, on one line, what acts on a reader
(controls, marks of direction), see `support.printable`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.figures import STYLE
from onnx_trtcal.report.page import pictures, words
from onnx_trtcal.report.page.columns import columns_of
from onnx_trtcal.report.page.flags import urgency
from onnx_trtcal.support.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

    from onnx_trtcal.figures import Figure
    from onnx_trtcal.report.page.facts import Page, TensorFacts

__all__ = ["page_html"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_SHOWN = 6  # tensors whose pictures are open from the start, and printed
_MOST_MOVED = 12
_MOVED = 0.001


def page_html(page: Page) -> bytes:
    """The file's bytes; the same page gives the same bytes."""
    template = _environment().get_template("page.html.j2")
    text = template.render(
        page=page,
        columns=columns_of(page),
        first=_first_look(page.tensors),
        moved=_moved(page.tensors),
        network=pictures.network(page),
        blocks=pictures.blocks(page.blocks),
        damage=pictures.damage(page),
        title=Path(page.model).name,
        counts=_counts(page.tensors),
    )
    return text.encode()


def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup, escape

    def cleaned(value: Any) -> Any:
        return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    def drawn(figure: Figure | None) -> Markup:
        # The figures escape what they show.
        return Markup(figure.markup if figure is not None else "")

    def unbroken(text: str) -> Markup:
        # Browsers break lines behind hyphens, and a flag that is cut in two is hard to read.
        words = (
            Markup("<span>{}</span>").format(word) if "-" in word else escape(word)
            for word in printable(text).split(" ")
        )
        return Markup(" ").join(words)

    def inlined(name: str) -> Markup:
        return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=cleaned,
    )
    environment.filters |= {
        "change": words.change,
        "decibels": words.decibels,
        "drawn": drawn,
        "percent": words.percent,
        "size": words.size,
        "unbroken": unbroken,
        "value": words.value,
    }
    environment.globals |= {
        "pictures": pictures,
        "style": Markup(STYLE),
        "css": inlined("page.css"),
        "js": inlined("page.js"),
    }
    return environment


def _first_look(tensors: Sequence[TensorFacts]) -> list[TensorFacts]:
    """The tensors that deserve a look most; where nothing is odd, those that are clipped hardest."""
    ranked = sorted(tensors, key=lambda each: -urgency(each))
    found = [each for each in ranked if urgency(each) >= 1]
    if not found:
        clipped = [each for each in tensors if each.histogram is not None and each.amax and not each.product]
        found = sorted(clipped, key=lambda each: each.kept or 0.0)[:2]
    return found[:_MOST_SHOWN]


def _moved(tensors: Sequence[TensorFacts]) -> list[TensorFacts]:
    """The tensors whose scales moved, furthest first."""
    found = [each for each in tensors if each.moved is not None and abs(each.moved.ratio - 1) > _MOVED]

    def far(each: TensorFacts) -> float:
        ratio = each.moved.ratio if each.moved is not None else 1.0
        return max(ratio, 1 / ratio)

    return sorted(found, key=far, reverse=True)[:_MOST_MOVED]


def _counts(tensors: Sequence[TensorFacts]) -> dict[str, int]:
    """How many tensors each filter shows."""
    return {
        "all": len(tensors),
        "flagged": sum(any(flag.level in ("bad", "caution") for flag in each.flags) for each in tensors),
        "int8": sum(each.precision == "int8" for each in tensors),
        "float": sum(each.precision == "float" for each in tensors),
    }
