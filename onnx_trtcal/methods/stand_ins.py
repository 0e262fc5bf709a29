"""Options under which no method runs the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.methods.method import parse_method
from onnx_trtcal.options import DEFAULT_METHOD

if TYPE_CHECKING:
    from onnx_trtcal.options import Options

__all__ = ["without_search"]


def without_search(options: Options) -> Options:
    """The same options with each method that runs the model replaced by its stand-in for statistics alone.

    Raises:
        OptionError: a method does not exist.
    """
    rules = tuple(
        f"{what}{equals}{_stand_in(text)}"
        for what, equals, text in (rule.rpartition("=") for rule in options.method_for)
    )
    return replace(
        options,
        method=_stand_in(options.method or DEFAULT_METHOD),
        method_for=rules,
        steps=None,
        budget=None,
    )


def _stand_in(text: str) -> str:
    """The method that is asked for by a text, or its fallback."""
    fallback = parse_method(text).fallback
    return text if fallback is None else str(fallback)
