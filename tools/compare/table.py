"""A case's rows as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compare.cases import Case
    from compare.rows import Row
    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.comparison import Evaluation

__all__ = ["case_table"]

_SCORE = "accuracy"


def case_table(case: Case, rows: Sequence[Row]) -> str:
    """FP32 first, then every contender; failures below the table. Columns that are empty are left out."""
    evaluated = [_cells(row) for row in rows if row.found is not None]
    text = [f"### {case.name}", ""]
    if evaluated:
        fp32 = _fp32(rows)
        columns = [name for name in evaluated[0] if any(cells[name] for cells in evaluated)]
        text += [f"| {' | '.join(columns)} |", "| --- |" + " --: |" * (len(columns) - 1)]
        text += [
            f"| {' | '.join(cells.get(name, '') for name in columns)} |"
            for cells in ([fp32] if len(fp32) > 1 else []) + evaluated
        ]
        text.append("")
    return "\n".join([*text, *(f"{row.name} failed: {row.failed}" for row in rows if row.failed), ""])


def _fp32(rows: Sequence[Row]) -> dict[str, str]:
    """The float model's line: nothing but its name where there is no score and no detection."""
    line = {"tool": "FP32"}
    found = next((row.found for row in rows if row.found is not None), None)
    if found is None:
        return line
    if (score := _score(found)) is not None:
        line[_SCORE] = _number(score[0], score[1].fp32)
    if found.detection is not None:
        line["detections kept"] = str(found.detection.fp32)
    return line


def _score(found: Evaluation) -> tuple[str, Merit] | None:
    """The metric's first figure, or else top-1."""
    return next(iter({**found.metric, **found.scores}.items()), None)


def _cells(row: Row) -> dict[str, str]:
    found, cost = row.found, row.cost
    assert found is not None
    assert cost is not None
    score, counts = _score(found), found.detection
    agreement = None if found.metric else found.agreement
    return {
        "tool": row.name,
        _SCORE: _number(score[0], score[1].int8) if score else "",
        "against FP32": _difference(*score) if score else "",
        "same answer": "" if agreement is None else f"{agreement:.2%}",
        "detections kept": str(counts.kept) if counts else "",
        "invented": str(counts.invented) if counts else "",
        "output SQNR dB": f"{min(each.sqnr for each in found.outputs):.1f}" if found.outputs else "",
        "worst block dB": f"{found.worst.sqnr:.1f}" if found.worst else "",
        "layers INT8": f"{row.quantized} of {row.weighted}",
        "seconds": f"{cost.seconds:.1f}",
        "CPU s": f"{cost.cpu_seconds:.1f}",
        "peak MiB": f"{cost.peak / (1 << 20):.0f}",
    }


def _number(name: str, value: float) -> str:
    return f"{value:.2%}" if name.startswith("top-") else f"{value:.4f}"


def _difference(name: str, score: Merit) -> str:
    percent = name.startswith("top-")
    factor, digits = (100, 2) if percent else (1, 4)
    text = f"{factor * (score.int8 - score.fp32):+.{digits}f}"
    return text if score.error is None else f"{text} ± {factor * score.error:.{digits}f}"
