"""What the pages have made for them at build time: references and pictures."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, ClassVar

import commands
import pictures
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from onnx_trtcal.figures import STYLE

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SHELL = re.compile(r'<div class="highlight-sh .*?</pre>', re.DOTALL)
_TEXT = re.compile(r"(?<=>)[^<]+(?=<)")
_HYPHENATED = re.compile(r"[^\s&;]*-[^\s&;]*")
_LONGEST_WORD = 30


class CommandReference(SphinxDirective):
    """Every verb and every flag, from the parsers."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(commands.reference(), allow_section_headings=True)


class Picture(SphinxDirective):
    """A figure of `pictures`, by its name and what it takes; below it the caption."""

    required_arguments = 1
    optional_arguments = 1
    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        markup = pictures.draw(*self.arguments).markup
        if not self.env.temp_data.get("pictures"):
            # Once on a page.
            self.env.temp_data["pictures"] = True
            markup = f"<style>{STYLE}</style>\n{markup}"
        box = nodes.container(classes=["picture"])
        box += nodes.raw("", markup, format="html")
        box += self.parse_content_to_nodes()
        return [box]


def add_option_fields(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, lines: list[str]
) -> None:
    """Below the docstring of an option class, its fields with their defaults and the help text of their flags."""
    if what != "class" or not dataclasses.is_dataclass(thing):
        return
    told = {line.removeprefix(".. attribute:: ") for line in lines}
    fields = [
        item for item in dataclasses.fields(thing) if item.metadata.get("help") and item.name not in told
    ]
    rows = []
    for item in fields:
        rows += [f".. attribute:: {item.name}", f"   :type: {item.type}", f"   :value: {item.default!r}", ""]
        text = str(item.metadata["help"])
        choices = ", ".join(f"``{choice}``" for choice in item.metadata.get("choices") or ())
        words = f"{text[:1].upper()}{text[1:].rstrip('.')}." + (f" One of {choices}." if choices else "")
        rows += [f"   {_escaped(words)}", ""]
    first = next((at for at, line in enumerate(lines) if line.startswith(".. attribute::")), len(lines))
    lines[first:first] = ["", *rows] if rows else []


def _escaped(text: str) -> str:
    """Help text in reStructuredText: a * in it is not emphasis."""
    return text.replace("*", r"\*")


def hide_signature(
    _app: Sphinx, what: str, name: str, thing: Any, _options: Any, _signature: str, _returned: str
) -> tuple[str, None] | None:
    """Of a result, which users do not make, and of options, whose fields follow, the signature says nothing."""
    if (
        what == "class"
        and dataclasses.is_dataclass(thing)
        and not name.endswith((".Cache", ".CompileOptions"))
    ):
        return "", None
    return None


def replace_dashes(_app: Sphinx, document: nodes.document) -> None:
    """Between a parameter and what it is, a colon in place of the two hyphens that Sphinx puts there."""
    for text in list(document.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(": "))


def keep_words(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _document: nodes.document | None
) -> None:
    """In shell commands, no line break behind a hyphen: `--` at the end of a line would not be read as a flag's."""
    if "body" in context:
        context["body"] = _SHELL.sub(lambda block: _TEXT.sub(_whole_words, block[0]), context["body"])


def _whole_words(text: re.Match[str]) -> str:
    return _HYPHENATED.sub(
        lambda word: f'<span class="word">{word[0]}</span>' if len(word[0]) <= _LONGEST_WORD else word[0],
        text[0],
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-reference", CommandReference)
    app.add_directive("picture", Picture)
    app.connect("autodoc-process-docstring", add_option_fields)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("doctree-read", replace_dashes)
    app.connect("html-page-context", keep_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
