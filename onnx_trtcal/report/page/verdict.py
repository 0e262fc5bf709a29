"""The verdict in words: is it safe, what is at risk, what to run next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.evaluation.end_result import FINE, LEAST
from onnx_trtcal.report.page.facts import Verdict
from onnx_trtcal.report.page.measured import blocks_of
from onnx_trtcal.report.page.words import decibels, percent
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.report.page.commands import Commands
    from onnx_trtcal.report.page.facts import Command, Level, Risk
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.report.page.measured import MeasuredBlock, MeasuredFigure

__all__ = ["Evidence", "evidence_of", "level_of_block", "verdict_of"]

_SMALL_DROP, _LARGE_DROP = 0.01, 0.05  # points of accuracy, as shares
_FEW_SAME = 0.95
_MOST_RISKS = 6
_ORDER: Sequence[Level] = ("bad", "caution", "unknown", "good")


@dataclass(frozen=True)
class Evidence:
    """What was measured at the outputs; empty where nothing was.

    Attributes:
        blocks: of the outputs.
        samples: how many samples they were measured on.
        figures: accuracy of both models.
        agreement: share of equal answers.
    """

    blocks: tuple[MeasuredBlock, ...] = ()
    samples: int = 0
    figures: tuple[MeasuredFigure, ...] = ()
    agreement: float | None = None

    @property
    def worst(self) -> MeasuredBlock | None:
        """The block with the lowest SQNR among those that are a verdict."""
        return min((each for each in self.blocks if each.verdict), key=lambda each: each.sqnr, default=None)

    @property
    def drop(self) -> MeasuredFigure | None:
        """The share that fell furthest; None where there are no labels."""
        shares = [each for each in self.figures if each.share]
        return max(shares, key=lambda each: each.fp32 - each.int8, default=None)


def evidence_of(material: Material) -> Evidence:
    """The strongest evidence at hand: an evaluation, a ranking, or a look at the end result."""
    if material.measured is not None:
        found = material.measured
        return Evidence(found.blocks, found.samples, found.figures, found.agreement)
    if material.ranked is not None:
        return Evidence(material.ranked.blocks, material.ranked.samples)
    if material.end_result is not None:
        return Evidence(blocks_of(material.end_result.blocks), material.end_result.samples)
    return Evidence()


def verdict_of(
    material: Material, evidence: Evidence, risks: Sequence[Risk], commands: Commands, flags: str
) -> Verdict:
    """The verdict.

    Args:
        material: what is at hand.
        evidence: what was measured at the outputs.
        risks: what else may go wrong.
        commands: of the page.
        flags: for `solve` and `calibrate`, that clip less where that is too hard; empty where it is not.
    """
    level, because = _level(evidence), _because(evidence)
    if material.tuning is not None:
        level, because = _tuned(material, level, because)
    worst_risk = min((risk.level for risk in risks), key=_ORDER.index, default="good")
    if level == "good" and worst_risk in ("bad", "caution"):
        level = "caution" if worst_risk == "bad" else level
    ranked = sorted(risks, key=lambda risk: _ORDER.index(risk.level))
    following = _next(material, level, commands, flags)
    return Verdict(level, _headline(level, material, risks), because, tuple(ranked[:_MOST_RISKS]), following)


def _level(evidence: Evidence) -> Level:
    """How safe what was measured is."""
    worst, drop = evidence.worst, evidence.drop
    noise: Level = "unknown" if worst is None else level_of_block(worst)
    if drop is None:
        differs = evidence.agreement is not None and evidence.agreement < _FEW_SAME
        return "caution" if noise == "good" and differs else noise
    lost = drop.fp32 - drop.int8
    answers: Level = "good" if lost <= _SMALL_DROP else "caution" if lost <= _LARGE_DROP else "bad"
    if answers == "good":
        # Right labels say more of what the answers are worth than noise does.
        return "caution" if noise == "bad" else "good"
    return min(answers, noise, key=_ORDER.index)


def level_of_block(block: MeasuredBlock) -> Level:
    """How safe the noise of a part of the outputs is."""
    return "good" if block.sqnr >= FINE else "caution" if block.sqnr >= LEAST else "bad"


def _because(evidence: Evidence) -> str:
    """The sentence that says what the level rests on."""
    worst, drop = evidence.worst, evidence.drop
    parts: list[str] = []
    if drop is not None:
        parts.append(f"{drop.name} is {percent(drop.int8)} in INT8 and {percent(drop.fp32)} in FP32")
    if worst is not None:
        count = len(evidence.blocks)
        of = "" if count == 1 else f", the worst of {count} parts of the outputs"
        parts.append(f"{worst.name} is left with {decibels(worst.sqnr)}{of}")
    if evidence.agreement is not None and drop is None:
        parts.append(f"{percent(evidence.agreement)} of the answers are the same")
    if not parts:
        return "Nothing has compared INT8 with FP32 at the outputs yet; this is what the ranges of the tensors tell."
    return f"Measured on {many(evidence.samples, 'sample')}: {'; '.join(parts)}."


def _tuned(material: Material, level: Level, because: str) -> tuple[Level, str]:
    from onnx_trtcal.tuning.step import figure_and_drop

    tuned = material.tuning
    assert tuned is not None
    text = f"On {many(tuned.report.samples, 'sample')} that no step was chosen on: {figure_and_drop(tuned.report)}."
    return ("good" if tuned.met else "caution" if level != "bad" else "bad"), (
        text if level == "unknown" else f"{text} {because}"
    )


def _headline(level: Level, material: Material, risks: Sequence[Risk]) -> str:
    what = "this model" if material.paths.qdq and not material.paths.cache else "this calibration"
    if material.tuning is not None:
        return "The accuracy target is met" if material.tuning.met else "The accuracy target is not met"
    if level == "bad":
        return "Not safe: INT8 ruins part of what this model answers"
    if level == "caution":
        return "Usable with care: INT8 costs something here"
    if level == "good":
        return f"Safe: {what} keeps what the model answers"
    serious = sum(risk.level in ("bad", "caution") for risk in risks)
    found = f"{many(serious, 'risk')} in the ranges" if serious else "nothing odd in the ranges"
    return f"Not measured yet: {found}"


def _next(material: Material, level: Level, commands: Commands, flags: str) -> tuple[Command, ...]:
    costly = material.coverage is not None and not material.coverage.complete
    found = [commands.complete()] if costly else []
    if flags and level != "good":
        found.append(commands.calibrate_with(flags))
    if level == "unknown":
        return (*found, commands.evaluate())
    if level == "good":
        return (*found, commands.build()[-1 if material.paths.qdq else 0])
    if material.ranked is None:
        found.append(commands.sensitivity())
    elif material.ranked.exclude and not math.isinf(material.ranked.everything):
        found.append(commands.exclude(material.ranked.exclude))
    if level == "bad" and not _searched(material):
        found.append(commands.auto())
    return (*found, commands.tune()) if material.tuning is None else tuple(found)


def _searched(material: Material) -> bool:
    calibration = material.source.calibration
    return calibration is not None and any(
        method.needs == "model" for method in calibration.prepared.methods.values()
    )
