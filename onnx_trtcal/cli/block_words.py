"""What is said of the blocks of a model's outputs, and of tables with columns that hold nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.simulation import with_db

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = ["shown_columns", "verdict_lines"]

_MOST_BLOCKS = 20


def verdict_lines(blocks: Sequence[BlockError], samples: int) -> list[str]:
    """The verdict, and what it is the worst of: blocks in the order of the outputs."""
    from onnx_trtcal.fidelity.blocks import worst

    found = worst(blocks)
    count = f"{samples} sample{'s' if samples != 1 else ''}"
    if not blocks:
        return [f"verdict: none, the outputs hold no floats; {count}"]
    if found is None:
        return [f"verdict: none, no output holds a value other than 0 in any sample; {count}"]
    of = "" if len(blocks) == 1 else f", the worst of {len(blocks)} blocks"
    lines = [f"verdict: {with_db(found.sqnr)} in {found.block}{of}, {count}"]
    if len(blocks) > 1:
        lines += [f"  {each.block}: {with_db(each.sqnr)}{_why(each)}" for each in blocks[:_MOST_BLOCKS]]
    if len(blocks) > _MOST_BLOCKS:
        lines.append(f"  and {len(blocks) - _MOST_BLOCKS} more")
    return lines


def _why(each: BlockError) -> str:
    if each.verdict:
        return ""
    if not each.values:
        return " (no value in any sample)"
    return " (too little power beside the rest of the output to be a verdict)"


def shown_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which no row says anything; the first one stays."""
    shown = [
        at
        for at in range(len(columns))
        if not at or not rows or any(row[at] not in ("", "-") for row in rows)
    ]
    return [columns[at] for at in shown], [[row[at] for at in shown] for row in rows]
