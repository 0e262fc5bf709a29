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

FEWER = 4  # slopes are taken between this fraction of the samples and all of them


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        who: its name in `bench.child`.
        title: in the table.
        waits: what its threads do while they wait for one another.
        python: the interpreter that runs it.
    """

    who: str
    title: str
    waits: str = "spin"
    python: str = sys.executable


@dataclass(frozen=True)
class Versus:
    """Reports of the contenders, one per round, over all samples and over fewer."""

    contenders: tuple[Contender, ...]
    rounds: tuple[dict[str, Report], ...]
    fewer: tuple[dict[str, Report], ...]
    samples: int
    fewer_samples: int

    def ratios(self, who: str, to: str, what: Callable[[Report], float]) -> list[float]:
        """Per round, how many times faster `who` is than `to`."""
        return [what(reports[to]) / what(reports[who]) for reports in self.rounds]

    def peak(self, who: str) -> float:
        return median(reports[who].peak for reports in self.rounds)

    def growth(self, who: str) -> float:
        """Bytes that one more sample takes."""
        fewer = median(reports[who].peak for reports in self.fewer)
        return (self.peak(who) - fewer) / (self.samples - self.fewer_samples)

    def slopes(self, who: str, what: Callable[[Report], float]) -> list[float]:
        """Per round, what one more sample takes, by the difference between a long run and a short one."""
        more = self.samples - self.fewer_samples
        pairs = zip(self.rounds, self.fewer, strict=True)
        return [(what(long[who]) - what(short[who])) / more for long, short in pairs]

    def slope_ratios(self, who: str, to: str) -> list[float]:
        """Per round, how many times less time one more sample takes `who` than `to`, of the whole process."""
        pairs = zip(self.slopes(who, _wall), self.slopes(to, _wall), strict=True)
        return [theirs / ours if ours > 0 else float("nan") for ours, theirs in pairs]


def contenders(modelopt: str | None) -> tuple[Contender, ...]:
    """Everyone, ModelOpt where the interpreter of an environment that has it is given."""
    known = (
        Contender("plain", "plain forward"),
        Contender("plain-default", "plain forward, ORT's defaults"),
        Contender("ours", "onnx_trtcal, entropy", "sleep"),
        Contender("stages", "onnx_trtcal, nothing overlapped", "sleep"),
        Contender("ort-minmax", "ORT MinMax"),
        Contender("ort-entropy", "ORT Entropy"),
        Contender("ort-percentile", "ORT Percentile"),
    )
    return (*known, Contender("modelopt", "ModelOpt entropy", "spin", modelopt)) if modelopt else known


def fight(rivals: Sequence[Contender], spec: Spec, rounds: int, say: Callable[[str], None]) -> Versus:
    """Measures all contenders, alternating."""
    fewer_samples = max(spec.batch, spec.samples // FEWER // spec.batch * spec.batch)
    done, fewer = [], []
    for turn in range(rounds):
        long, short = {}, {}
        for rival in rivals:
            long[rival.who] = measure(replace(spec, who=rival.who), rival.python)
            short[rival.who] = measure(replace(spec, who=rival.who, samples=fewer_samples), rival.python)
            say(
                f"round {turn + 1} of {rounds}: {rival.title}: {long[rival.who].wall:.1f} s, "
                f"{fewer_samples} samples {short[rival.who].wall:.1f} s"
            )
        done.append(long)
        fewer.append(short)
    return Versus(tuple(rivals), tuple(done), tuple(fewer), spec.samples, fewer_samples)


def versus_table(versus: Versus) -> str:
    """Speed and memory of every contender."""
    columns = (
        "", "samples/s, whole run", "× plain, whole run", "× ORT Entropy, whole run", "samples/s, steady",
        "× plain, steady", "samples/s, slope", "× plain, slope", "CPU ms/sample, slope", "peak RSS, MB",
        "over plain, MB", "MB per sample", "waiting threads",
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
                number(_rate(median(versus.slopes(who, _wall)))),
                spread(versus.slope_ratios(who, "plain")),
                number(1000 * median(versus.slopes(who, _cpu))),
                megabytes(versus.peak(who)),
                megabytes(versus.peak(who) - versus.peak("plain")),
                number(versus.growth(who) / 1e6),
                rival.waits,
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


def _rate(seconds: float) -> float:
    """Samples a second; not a number where the longer run took no more time, by chance."""
    return 1 / seconds if seconds > 0 else float("nan")


def _cpu(report: Report) -> float:
    return report.cpu


def _steady(report: Report) -> float:
    return report.steady
