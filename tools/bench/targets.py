"""What was aimed at, beside what was measured."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.tables import markdown, megabytes, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.single import Single
    from bench.versus import Versus

__all__ = ["target_table"]

MORE = 150e6  # bytes beyond a batch of activations that a run may take over plain inference
FLAT = 0.1e6  # bytes per sample that count as none


def target_table(versus: Versus, single: Single) -> str:
    """One row per target, told as met or not."""
    slope = median(versus.slope_ratios("ours", "plain"))
    plain = median(versus.ratios("ours", "plain", lambda report: report.wall))
    whole = median(versus.ratios("ours", "ort-entropy", lambda report: report.wall))
    over = versus.peak("ours") - versus.peak("plain")
    allowed = median(reports["stages"].activations for reports in versus.rounds) + MORE
    growth = versus.growth("ours")
    rows: Sequence[Sequence[str]] = [
        ("samples/s, slope, × plain forward", "≥ 0.65", "0.80", number(slope), _met(slope >= 0.65)),
        ("samples/s, whole run, × plain forward", "≥ 0.65", "", number(plain), _met(plain >= 0.65)),
        ("samples/s, whole run, × ORT Entropy", "≥ 12", "20", number(whole), _met(whole >= 12)),
        (
            "peak RSS over plain, MB", f"≤ {megabytes(allowed)} (a batch of activations + 150)", "",
            megabytes(over), _met(over <= allowed),
        ),
        ("RSS growth per sample, MB", "flat", "0", number(growth / 1e6), _met(growth <= FLAT)),
        (
            f"threshold search, ms per tensor (ORT {number(1000 * single.ort_search)})", "≤ 3", "1",
            number(1000 * single.our_search), _met(single.our_search <= 3e-3),
        ),
        (
            f"rewrite of {single.rewrite_nodes} nodes, s", "≤ 1", "",
            number(single.rewrite), _met(single.rewrite <= 1),
        ),
        ("start to first sample counted, s", "≤ 3", "1.5", number(single.first), _met(single.first <= 3)),
        (
            "the same, nothing compiled before, s", "≤ 3", "1.5",
            number(single.first_uncompiled), _met(single.first_uncompiled <= 3),
        ),
    ]  # fmt: skip
    return markdown(("what", "target", "aim", "measured", "met"), rows)


def _met(yes: object) -> str:
    return "yes" if yes else "no"
