"""The columns of the page's table of tensors: those in which some tensor has something to say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.report.page.words import change, decibels, percent, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_trtcal.report.page.facts import Page, TensorFacts

__all__ = ["Column", "columns_of"]

_MOST = 6
# What a phone has room for, the most telling first.
_NARROW = ("error", "moved", "cache", "own", "kept", "threshold")
_MOST_NARROW = 2
_ENDLESS = 1e9  # what infinities are sorted as


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: for the script.
        head: what stands above it.
        hint: what it means.
        number: of a tensor; None where there is none.
        text: the number as it is shown.
        falling: whether a click sorts the largest first.
        wide: whether only wide screens show it; `columns_of` decides.
        spare: whether it gives way where there are many others; the details have it.
    """

    name: str
    head: str
    hint: str
    number: Callable[[TensorFacts], float | None]
    text: Callable[[float], str]
    falling: bool = True
    wide: bool = False
    spare: bool = False

    def shown(self, tensor: TensorFacts) -> str:
        """The cell of a tensor."""
        number = self.number(tensor)
        return "" if number is None else self.text(number)

    def sort_key(self, tensor: TensorFacts) -> str:
        """What the cell is sorted by, as a number in full; empty where there is none."""
        number = self.number(tensor)
        if number is None or math.isnan(number):
            return ""
        return f"{min(max(number, -_ENDLESS), _ENDLESS):.9g}"


_COLUMNS = (
    Column(
        "amax", "amax", "the largest magnitude seen", lambda each: each.amax, value, wide=True, spare=True
    ),
    Column(
        "threshold", "threshold", "the largest magnitude kept", lambda each: each.threshold, value, wide=True
    ),
    Column("kept", "kept", "threshold / amax", lambda each: each.kept, percent, falling=False),
    Column(
        "clipped",
        "clipped",
        "share of the values beyond the threshold",
        lambda each: each.chosen.clipped if each.chosen else None,
        percent,
        spare=True,
    ),
    Column(
        "own",
        "SQNR",
        "of the tensor by itself, as its threshold leaves it",
        lambda each: each.chosen.sqnr if each.chosen else None,
        decibels,
        falling=False,
    ),
    Column(
        "error",
        "end to end",
        "SQNR between the tensor in FP32 and in INT8, all error above it included",
        lambda each: each.sqnr,
        decibels,
        falling=False,
    ),
    Column(
        "lost",
        "lost here",
        "dB lost since what it is computed from",
        lambda each: each.lost if each.lost > 0 else None,
        decibels,
    ),
    Column(
        "harm",
        "damage",
        "SQNR of the worst part of the outputs in the ranking of groups",
        lambda each: each.harm,
        decibels,
        falling=False,
    ),
    Column(
        "cache",
        "cache",
        "the cache's scale against this one",
        lambda each: each.beside.ratio if each.beside else None,
        change,
    ),
    Column(
        "moved",
        "moved",
        "the scale against that of the run before",
        lambda each: each.moved.ratio if each.moved else None,
        change,
    ),
)


def columns_of(page: Page) -> tuple[Column, ...]:
    """The columns in which some tensor has a number, as many as fit beside the names."""
    found = [
        column for column in _COLUMNS if any(column.number(tensor) is not None for tensor in page.tensors)
    ]
    kept = [column for column in found if len(found) <= _MOST or not column.spare]
    narrow = sorted((column.name for column in kept if column.name in _NARROW), key=_NARROW.index)[
        :_MOST_NARROW
    ]
    return tuple(replace(column, wide=column.name not in narrow) for column in kept)
