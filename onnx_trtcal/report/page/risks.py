"""What to look at before an engine is built."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_trtcal.counting.convergence import SETTLED, settled_line
from onnx_trtcal.errors import listed
from onnx_trtcal.evaluation.end_result import FINE, LEAST
from onnx_trtcal.report.advice import clip_warnings
from onnx_trtcal.report.mixed import mixed_in_cache
from onnx_trtcal.report.page.facts import Risk
from onnx_trtcal.report.page.words import decibels
from onnx_trtcal.report.summary import warnings
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnx_trtcal.report.advice import Overclipped
    from onnx_trtcal.report.page.facts import TensorFacts
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.report.page.verdict import Evidence

__all__ = ["risks_of"]

_MOST_NAMED = 5
_MUCH_LOST = 3.0
_FAR_MORE = 100.0  # times the least error


def risks_of(
    material: Material,
    evidence: Evidence,
    tensors: Sequence[TensorFacts],
    overclipped: Sequence[Overclipped],
) -> tuple[Risk, ...]:
    """The risks; those of one level in the order in which they should be looked at.

    Args:
        material: what is at hand.
        evidence: what was measured at the outputs.
        tensors: with their flags.
        overclipped: those that are clipped too hard, the worst first.
    """
    keys = {tensor.name: tensor.key for tensor in tensors}
    return (
        *_at_the_outputs(evidence),
        *_where_error_grows(tensors),
        *_in_the_cache(material),
        *_in_the_ranges(material, overclipped, keys, measured=evidence.worst is not None),
        *_in_float(material),
        *_in_another_cache(tensors),
        *_between_runs(tensors),
    )


def _at_the_outputs(evidence: Evidence) -> Iterator[Risk]:
    weak = sorted(
        (each for each in evidence.blocks if each.verdict and each.sqnr < FINE), key=lambda each: each.sqnr
    )
    lost = [each for each in weak if each.sqnr < LEAST]
    for level, found, text in (
        ("bad", lost, f"under {LEAST:g} dB, where a third of the amplitude is wrong"),
        ("caution", [each for each in weak if each.sqnr >= LEAST], f"under {FINE:g} dB"),
    ):
        if found:
            names = listed([f"{each.name} ({decibels(each.sqnr)})" for each in found], _MOST_NAMED)
            yield Risk("bad" if level == "bad" else "caution", f"Parts of the outputs are {text}: {names}.")


def _where_error_grows(tensors: Sequence[TensorFacts]) -> Iterator[Risk]:
    worst = max(tensors, key=lambda each: each.lost, default=None)
    if worst is not None and worst.lost >= _MUCH_LOST and worst.sqnr is not None and worst.sqnr < FINE:
        yield Risk(
            "caution",
            f"Error grows most in {worst.name}: {decibels(worst.sqnr + worst.lost)} before it, {decibels(worst.sqnr)} "
            "behind it.",
            worst.key,
        )


def _in_the_cache(material: Material) -> Iterator[Risk]:
    coverage = material.coverage
    if coverage is None:
        missing = material.source.missing
        if missing:
            yield Risk(
                "bad",
                f"{many(len(missing), 'float tensor')} without a scale: {listed(missing, _MOST_NAMED)}.",
            )
        return
    if coverage.looks_foreign:
        yield Risk(
            "bad", "Most entries of the cache name no tensor of this model: it looks like another model's."
        )
    costly = [gap.tensor for gap in coverage.gaps if gap.costs != "no"]
    if costly:
        yield Risk(
            "bad",
            f"The cache lacks {many(len(costly), 'tensor')}; TensorRT runs the layers around them in floating point: "
            f"{listed(costly, _MOST_NAMED)}.",
        )


def _in_the_ranges(
    material: Material, overclipped: Sequence[Overclipped], keys: Mapping[str, str], *, measured: bool
) -> Iterator[Risk]:
    calibration = material.source.calibration
    if calibration is None:
        if material.source.unseen:
            names = listed(material.source.unseen, _MOST_NAMED)
            yield Risk("caution", f"The range was never seen, and the scale is made up: {names}.")
        return
    if shards := calibration.collection.shards:
        part = shards.named(sorted(shards.have))
        yield Risk("bad", f"These are the statistics of {part} only: merge all shards first.")
    found = list(overclipped)
    for text in clip_warnings(found, calibration):
        # What was measured at the outputs says more than ranges do.
        serious = not measured and found[0].times >= _FAR_MORE
        yield Risk("bad" if serious else "caution", _sentence(text), keys.get(found[0].tensor, ""))
    advised = {each.tensor for each in found}
    yield from _sentences(warnings(calibration, advised))
    yield from _sentences(mixed_in_cache(calibration))
    movement = calibration.movement
    if movement and movement.most > (calibration.options.until_stable or SETTLED):
        yield Risk(
            "caution" if movement.most > 0.1 else "unknown",
            _sentence(settled_line(movement, calibration.options.until_stable)),
            keys.get(movement.tensor, ""),
        )


def _in_float(material: Material) -> Iterator[Risk]:
    lost = material.compilation.lost if material.compilation else ()
    if lost:
        names = listed([layer.name for layer in lost], _MOST_NAMED)
        yield Risk(
            "caution",
            f"NVIDIA's compiler runs {many(len(lost), 'quantized layer')} in floating point: {names}.",
        )


def _in_another_cache(tensors: Sequence[TensorFacts]) -> Iterator[Risk]:
    beside = [each for each in tensors if each.beside]
    apart = [each for each in beside if each.beside and abs(each.beside.ratio - 1) > SETTLED]
    if apart:
        # A cache may hold scales of 0.
        most = max(
            apart, key=lambda each: abs(math.log(max(each.beside.ratio, 1e-30))) if each.beside else 0.0
        )
        yield Risk(
            "caution",
            f"The cache holds other scales than those shown here: {len(apart)} of {len(beside)} differ by more than "
            f"{SETTLED:.0%}, {most.name} most. An engine built from it is another one.",
            most.key,
        )


def _between_runs(tensors: Sequence[TensorFacts]) -> Iterator[Risk]:
    moved = [each for each in tensors if each.moved and abs(each.moved.ratio - 1) > 0.1]
    if moved:
        most = max(moved, key=lambda each: abs(math.log(each.moved.ratio)) if each.moved else 0.0)
        yield Risk(
            "caution",
            f"{many(len(moved), 'scale')} moved by more than 10 % since the run before, {most.name} most.",
            most.key,
        )


def _sentences(texts: Iterable[str]) -> Iterator[Risk]:
    for text in texts:
        yield Risk("caution", _sentence(text))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
