"""The words beside a tensor's name: what is odd about it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.counting.convergence import SETTLED
from onnx_trtcal.errors import listed
from onnx_trtcal.report.page.facts import Flag
from onnx_trtcal.report.page.words import change, decibels
from onnx_trtcal.report.summary import FEW_VALUES
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.report.advice import Overclipped
    from onnx_trtcal.report.page.facts import Level, TensorFacts
    from onnx_trtcal.report.page.material import Material

__all__ = ["flagged", "urgency"]

_MUCH_LOST = 3.0  # dB: half of the precision
_MOST_SENSITIVE = 3
_URGENCY: Mapping[Level, int] = {"bad": 100, "caution": 10, "unknown": 1, "good": 0}


def flagged(
    tensors: tuple[TensorFacts, ...], material: Material, overclipped: Mapping[str, Overclipped]
) -> tuple[TensorFacts, ...]:
    """The tensors with their flags.

    Args:
        tensors: without.
        material: what they were made from.
        overclipped: those that are clipped too hard.
    """
    gaps = material.coverage.gaps if material.coverage else ()
    costly = {gap.tensor for gap in gaps if gap.costs != "no"}
    unseen = frozenset(material.source.unseen)
    found = []
    for each in tensors:
        flags = [
            *_of_range(each, overclipped.get(each.name), unseen=each.name in unseen),
            *_of_error(each, left_out=bool(material.ranked and material.ranked.left_out)),
            *_of_weights(each),
            *_of_others(each, [name for name in (each.name, *dict(each.members)) if name in costly]),
        ]
        found.append(replace(each, flags=tuple(sorted(flags, key=lambda flag: -_URGENCY[flag.level]))))
    return tuple(found)


def urgency(tensor: TensorFacts) -> float:
    """How much a tensor deserves a look; 0 where nothing is odd about it."""
    flags = sum(_URGENCY[flag.level] for flag in tensor.flags)
    return flags + min(tensor.lost, 60.0) if flags else 0.0


def _of_range(tensor: TensorFacts, hard: Overclipped | None, *, unseen: bool) -> list[Flag]:
    found = []
    if unseen:
        found.append(
            Flag("caution", "unseen", "It held no finite value in any sample: its scale is made up.")
        )
    if hard is not None:
        level: Level = "bad" if hard.times >= 20 else "caution"
        times = "far more than" if hard.times == math.inf else f"{hard.times:,.1f} times"
        found.append(
            Flag(
                level,
                "clipped hard",
                f"{hard.method} keeps {hard.threshold:.6g}, which costs {times} the error of mse's threshold "
                f"{hard.better:.6g}.",
            )
        )
    histogram = tensor.histogram
    if histogram is not None and (histogram.nan or histogram.inf):
        found.append(
            Flag(
                "bad",
                "NaN or Inf",
                f"It held {histogram.nan} NaN and {histogram.inf} Inf, which were left out.",
            )
        )
    if not tensor.product and 0 < tensor.values < FEW_VALUES:
        found.append(
            Flag(
                "caution",
                "few values",
                f"{tensor.values} values are too few for a steady scale: use more samples.",
            )
        )
    if tensor.values and not tensor.amax:
        found.append(Flag("unknown", "all zero", "Only zeros were seen: any scale is right for them."))
    return found


def _of_error(tensor: TensorFacts, *, left_out: bool) -> list[Flag]:
    found = []
    if tensor.lost >= _MUCH_LOST and tensor.sqnr is not None:
        level: Level = "bad" if tensor.sqnr < 10 and tensor.lost >= 2 * _MUCH_LOST else "caution"
        before, behind = decibels(tensor.sqnr + tensor.lost), decibels(tensor.sqnr)
        found.append(
            Flag(
                level,
                f"−{tensor.lost:.1f} dB here",
                f"Error grows here: {before} before it, {behind} behind it.",
            )
        )
    if tensor.rank is not None and tensor.rank <= _MOST_SENSITIVE:
        what = "all groups but this one" if left_out else "this group alone"
        harm = tensor.harm if tensor.harm is not None else math.inf
        found.append(
            Flag(
                "caution" if harm < 20 else "unknown",
                f"damage no. {tensor.rank}",
                f"With {what} in INT8, the worst part of the outputs keeps {decibels(harm)}.",
            )
        )
    return found


def _of_weights(tensor: TensorFacts) -> list[Flag]:
    dead = tensor.weights.dead if tensor.weights else ()
    if not dead:
        return []
    return [Flag("unknown", many(len(dead), "dead channel"), "Channels whose weights are all next to zero.")]


def _of_others(tensor: TensorFacts, missing: list[str]) -> list[Flag]:
    found = []
    if missing:
        text = f"The cache lacks {listed(missing)}: TensorRT runs what reads or makes that in floating point."
        found.append(Flag("bad", "not in the cache", text))
    if tensor.beside is not None and abs(tensor.beside.ratio - 1) > SETTLED:
        text = f"The cache's scale is {tensor.beside.scale:.6g}, {change(tensor.beside.ratio)} from this one."
        found.append(Flag("caution", f"cache {change(tensor.beside.ratio)}", text))
    if tensor.moved is not None and abs(tensor.moved.ratio - 1) > SETTLED:
        text = f"Its scale moved by {change(tensor.moved.ratio)} since the run before."
        found.append(Flag("caution", f"moved {change(tensor.moved.ratio)}", text))
    return found
