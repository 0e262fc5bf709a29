"""The command line reference as MyST Markdown, made from the parsers themselves."""

from __future__ import annotations

import argparse
import dataclasses
import re
from typing import TYPE_CHECKING, NamedTuple

from onnx_trtcal.cli import VERBS, parser_for
from onnx_trtcal.options import Options, Preprocess
from onnx_trtcal.qdq.options import QdqOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["reference"]

_PROGRAM = "onnx-trtcal"
# A help text says its default itself, in words where there is no one value.
_DEFAULT = re.compile(r"\s*\(default:? ([^()]*)\)")
_FLAG = re.compile(r"(?<![\w`-])(--?[a-zA-Z][\w-]*(?:=[A-Z]+)?)")

# What several verbs share: a title, and the names of the flags' destinations.
_SHARED: Mapping[str, frozenset[str]] = {
    "Calibration": frozenset({item.name for item in dataclasses.fields(Options)} | {"config"}),
    "Image preprocessing": frozenset(item.name for item in dataclasses.fields(Preprocess)),
    "Q/DQ models": frozenset(item.name for item in dataclasses.fields(QdqOptions)),
    "Every verb": frozenset({"quiet", "verbose"}),
}


class Flag(NamedTuple):
    """A flag as the reference shows it."""

    names: tuple[str, ...]
    value: str
    meaning: str
    default: str
    required: bool

    @property
    def name(self) -> str:
        """Its first long name."""
        return next(name for name in self.names if name.startswith("--"))


def reference() -> str:
    """The whole page below its title and introduction."""
    shared = _shared_flags()
    parts = [part for verb in VERBS for part in _verb(verb, shared)]
    for title, flags in shared.items():
        parts += [f"## {title}", f"```{{program}} {_PROGRAM}\n```", *map(_entry, flags.values())]
    return "\n\n".join(parts) + "\n"


def _shared_flags() -> dict[str, dict[str, Flag]]:
    """Of each shared group the flags by destination, as the first verb that has them says them."""
    shared: dict[str, dict[str, Flag]] = {title: {} for title in _SHARED}
    for verb in ("calibrate", "quantize", "evaluate"):
        for action in _flags(parser_for(verb)):
            for title, names in _SHARED.items():
                if action.dest in names:
                    shared[title].setdefault(action.dest, _flag(action))
    return shared


def _verb(verb: str, shared: Mapping[str, Mapping[str, Flag]]) -> Iterator[str]:
    parser = parser_for(verb)
    # The heading is what a link of another page names.
    yield f"(verb-{verb})=\n## {verb}"
    yield from _body(parser, shared)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help for choice in action._choices_actions}
            for name, each in action.choices.items():
                text = texts[name] or ""
                yield f"### {verb} {name}"
                yield from _body(each, shared, text[:1].upper() + text[1:] + "." if text else "")


def _body(
    parser: argparse.ArgumentParser, shared: Mapping[str, Mapping[str, Flag]], description: str = ""
) -> Iterator[str]:
    arguments = [action for action in parser._actions if not action.option_strings]
    yield _marked(description or parser.description or "")
    yield f"```text\n{_usage(parser, arguments)}\n```"
    rows = [f"`{_metavar(each)}`\n: {_marked(each.help or '')}" for each in arguments if each.help]
    if rows:
        yield "\n\n".join(rows)
    yield f"```{{program}} {parser.prog}\n```"
    also: dict[str, list[str]] = {}
    for action in _flags(parser):
        flag = _flag(action)
        title = next((title for title, flags in shared.items() if flags.get(action.dest) == flag), None)
        if title is None:
            yield _entry(flag)
        else:
            also.setdefault(title, []).append(flag.name)
    for title, flags in also.items():
        missing = [each.name for each in shared[title].values() if each.name not in flags]
        links = ", ".join(f"{{option}}`{name} <{_PROGRAM} {name}>`" for name in flags)
        whole = "all flags of" if not missing else "of"
        if title != "Every verb":
            yield f"Besides, {whole} [{title}](#{_anchor(title)}): {links}."


def _usage(parser: argparse.ArgumentParser, arguments: list[argparse.Action]) -> str:
    words = [parser.prog]
    for each in arguments:
        many = "…" if each.nargs in ("+", "*") else ""
        words.append(_metavar(each) + many)
    return " ".join([*words, "[flags]"])


def _metavar(action: argparse.Action) -> str:
    if action.metavar:
        return str(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _flags(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if action.option_strings and action.dest != "help" and action.help != argparse.SUPPRESS:
            yield action


def _flag(action: argparse.Action) -> Flag:
    text = (action.help or "").replace("%%", "%")
    found = _DEFAULT.search(text)
    meaning = text[: found.start()] + text[found.end() :] if found else text
    value = "" if action.nargs == 0 else _metavar(action)
    default = found[1] if found else ""
    return Flag(tuple(action.option_strings), value, meaning, default, bool(action.required))


def _entry(flag: Flag) -> str:
    """A flag as an `option` directive, which other pages and the index link to."""
    value = f" {flag.value}" if flag.value else ""
    heads = ", ".join(name + value for name in flag.names)
    text = _marked(flag.meaning[:1].upper() + flag.meaning[1:]).rstrip(".") + "."
    if flag.required:
        text += " Required."
    elif flag.default:
        text += f" Default: {_marked(flag.default)}."
    return f"````{{option}} {heads}\n{text}\n````"


def _marked(text: str) -> str:
    """Help text as Markdown: flags as code, and nothing else taken for markup."""
    pieces = re.split(r"(`[^`]*`)", text)
    for at in range(0, len(pieces), 2):
        escaped = re.sub(r"([\\*_<>\[\]])", r"\\\1", pieces[at])
        pieces[at] = _FLAG.sub(r"`\1`", escaped)
    return "".join(pieces)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
