"""A case's rows as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compare.cases import Case
    from compare.rows import Row
    from onnx_trtcal.evaluation.accuracy import Merit

__all__ = ["case_table"]

_COLUMNS = (
    "accuracy",
    "against FP32",
    "same answer",
    "output SQNR dB",
    "layers INT8",
    "seconds",
    "peak MiB",
)


def case_table(case: Case, rows: Sequence[Row]) -> str:
    """FP32 first, then every contender; failures below the table."""
    evaluated = [row for row in rows if row.found is not None]
    lines = [
        f"### {case.name}",
        "",
        f"| tool | {' | '.join(_COLUMNS)} |",
        "| --- |" + " --: |" * len(_COLUMNS),
    ]
    scores = [_score(row) for row in evaluated]
    first = next((score for score in scores if score is not None), None)
    if first is not None:
        lines.append(f"| FP32 | {_number(first[0], first[1].fp32)} | | | | | | |")
    for row, score in zip(evaluated, scores, strict=True):
        lines.append(f"| {row.name} | {' | '.join(_cells(row, score))} |")
    failures = [f"{row.name} failed: {row.failed}" for row in rows if row.failed]
    return "\n".join([*lines, "", *failures, ""])


def _score(row: Row) -> tuple[str, Merit] | None:
    """The metric's first figure, or else top-1."""
    assert row.found is not None
    named = {**row.found.metric, **row.found.scores}
    return next(iter(named.items()), None)


def _cells(row: Row, score: tuple[str, Merit] | None) -> list[str]:
    assert row.found is not None
    found = row.found
    accuracy, difference = "", ""
    if score is not None:
        name, value = score
        accuracy = _number(name, value.int8)
        difference = _difference(name, value)
    agreement = "" if found.agreement is None or found.metric else f"{found.agreement:.2%}"
    return [
        accuracy,
        difference,
        agreement,
        f"{found.outputs[0].sqnr:.1f}" if found.outputs else "",
        f"{row.quantized} of {row.weighted}",
        f"{row.seconds:.1f}",
        f"{row.peak / (1 << 20):.0f}",
    ]


def _number(name: str, value: float) -> str:
    return f"{value:.2%}" if name.startswith("top-") else f"{value:.4f}"


def _difference(name: str, score: Merit) -> str:
    percent = name.startswith("top-")
    factor, digits = (100, 2) if percent else (1, 4)
    text = f"{factor * (score.int8 - score.fp32):+.{digits}f}"
    return text if score.error is None else f"{text} ± {factor * score.error:.{digits}f}"
