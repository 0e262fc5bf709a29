"""The main comparison: every contender in turn, round after round, against the plain forward of its round."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.process import Report, Spec, measure
from bench.tables import markdown, megabytes, number, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Contender", "Versus", "contenders", "fight", "split_table", "versus_table"]

FEWER = 4  # the memory's growth is taken between this fraction of the samples and all of them


@dataclass(frozen=True)
class Contender:
    """One line of the table."""

    who: str
    title: str
    python: str = sys.executable


@dataclass(frozen=True)
class Versus:
    """Reports of the contenders: one per round, and one over fewer samples."""

    contenders: tuple[Contender, ...]
    rounds: tuple[dict[str, Report], ...]
    fewer: dict[str, Report]
    samples: int
    fewer_samples: int

    def ratios(self, who: str, to: str, what: Callable[[Report], float]) -> list[float]:
        """Per round, how many times faster `who` is than `to`."""
        return [what(reports[to]) / what(reports[who]) for reports in self.rounds]

    def peak(self, who: str) -> float:
        return median(reports[who].peak for reports in self.rounds)

    def growth(self, who: str) -> float:
        """Bytes that one more sample takes."""
        return (self.peak(who) - self.fewer[who].peak) / (self.samples - self.fewer_samples)


def contenders(modelopt: str | None) -> tuple[Contender, ...]:
    """Everyone, ModelOpt where the interpreter of an environment that has it is given."""
    known = (
        Contender("plain", "plain forward"),
        Contender("ours", "onnx_trtcal, entropy"),
        Contender("stages", "onnx_trtcal, nothing overlapped"),
        Contender("ort-minmax", "ORT MinMax"),
        Contender("ort-entropy", "ORT Entropy"),
        Contender("ort-percentile", "ORT Percentile"),
    )
    return (*known, Contender("modelopt", "ModelOpt entropy", modelopt)) if modelopt else known


def fight(rivals: Sequence[Contender], spec: Spec, rounds: int, say: Callable[[str], None]) -> Versus:
    """Measures all contenders, alternating."""
    fewer_samples = max(spec.batch, spec.samples // FEWER // spec.batch * spec.batch)
    done = []
    for turn in range(rounds):
        reports = {}
        for rival in rivals:
            reports[rival.who] = measure(replace(spec, who=rival.who), rival.python)
            say(f"round {turn + 1} of {rounds}: {rival.title}: {reports[rival.who].wall:.1f} s")
        done.append(reports)
    fewer = {}
    for rival in rivals:
        fewer[rival.who] = measure(replace(spec, who=rival.who, samples=fewer_samples), rival.python)
        say(f"{fewer_samples} samples: {rival.title}: {fewer[rival.who].wall:.1f} s")
    return Versus(tuple(rivals), tuple(done), fewer, spec.samples, fewer_samples)


def versus_table(versus: Versus) -> str:
    """Speed and memory of every contender."""
    columns = (
        "", "samples/s, whole run", "× plain, whole run", "× ORT Entropy, whole run", "samples/s, steady",
        "× plain, steady", "peak RSS, MB", "over plain, MB", "MB per sample",
    )  # fmt: skip
    rows = []
    for rival in versus.contenders:
        who = rival.who
        rows.append(
            [
                rival.title,
                number(versus.samples / median(reports[who].wall for reports in versus.rounds)),
                spread(versus.ratios(who, "plain", _wall)),
                number(median(versus.ratios(who, "ort-entropy", _wall))),
                number(1 / median(reports[who].steady for reports in versus.rounds)),
                spread(versus.ratios(who, "plain", _steady)),
                megabytes(versus.peak(who)),
                megabytes(versus.peak(who) - versus.peak("plain")),
                number(versus.growth(who) / 1e6),
            ]
        )
    return markdown(columns, rows)


def split_table(versus: Versus) -> str:
    """Where the time of our own run goes: seconds per stage, of the whole run and with nothing overlapped."""
    phases = ("start", "load", "rewrite", "session", "data", "run", "histogram", "solve", "write", "check")
    rows = []
    for who, title in (("ours", "whole run"), ("stages", "nothing overlapped"), ("plain", "plain forward")):
        reports = [reports[who] for reports in versus.rounds]
        seconds = [
            number(median(report.seconds[phase] for report in reports)) if phase in reports[0].seconds else ""
            for phase in phases
        ]
        rows.append([title, *seconds, number(median(report.wall for report in reports))])
    return markdown(("seconds", *phases, "wall"), rows)


def _wall(report: Report) -> float:
    return report.wall


def _steady(report: Report) -> float:
    return report.steady
