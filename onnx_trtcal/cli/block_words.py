"""What is said of the blocks of a model's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.columns import Column
from onnx_trtcal.cli.simulation import db, with_db
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = ["noise_bars", "print_verdict", "verdict_lines"]

_MOST_BLOCKS = 10


def print_verdict(blocks: Sequence[BlockError], samples: int, console: Console, about: str = "") -> None:
    """Prints the verdict and what it is the worst of; a terminal that can shows the noise in each block as a bar.

    Args:
        blocks: in the order of the outputs.
        samples: how many were run.
        console: where to print; a verbose one shows every block.
        about: what the verdict is about, with a colon behind it; empty where that is plain.
    """
    most = len(blocks) if console.verbose else _MOST_BLOCKS
    first, *others = verdict_lines(blocks, samples, most)
    console.verdict(about + first)
    if not others or console.terminal is None:
        for line in others:
            console.line(line)
        return
    shown = _shown(blocks, most)
    console.columns(
        [
            Column("block", tuple(each.block.name for each in shown)),
            Column(
                "SQNR dB", tuple(db(each.sqnr) for each in shown), noise_bars([each.sqnr for each in shown])
            ),
            Column("", tuple(_why(each).strip() for each in shown), rank=1),
        ]
    )
    console.left_out(len(blocks) - len(shown))


def verdict_lines(blocks: Sequence[BlockError], samples: int, most: int = _MOST_BLOCKS) -> list[str]:
    """The verdict, and what it is the worst of: the worst blocks, in the order of the outputs.

    Args:
        blocks: in the order of the outputs.
        samples: how many were run.
        most: how many blocks to list.
    """
    from onnx_trtcal.fidelity.blocks import worst

    found = worst(blocks)
    if not blocks:
        return [f"verdict: none, the outputs hold no floats; {many(samples, 'sample')}"]
    if found is None:
        return [
            f"verdict: none, no output holds a value other than 0 in any sample; {many(samples, 'sample')}"
        ]
    of = "" if len(blocks) == 1 else f", the worst of {len(blocks)} blocks"
    lines = [f"verdict: {with_db(found.sqnr)} in {found.block}{of}, {many(samples, 'sample')}"]
    if len(blocks) > 1:
        lines += [f"  {each.block}: {with_db(each.sqnr)}{_why(each)}" for each in _shown(blocks, most)]
    if len(blocks) > most:
        lines.append(f"  ... and {len(blocks) - most} more (-v shows all)")
    return lines


def noise_bars(ratios: Sequence[float | None], reference: float | None = None) -> tuple[float, ...]:
    """The noise of SQNRs in dB as shares (0 to 1) of the largest: what bars beside them show.

    Args:
        ratios: the SQNRs.
        reference: one more SQNR, whose noise fills a bar where it is larger than theirs.
    """
    from onnx_trtcal.figures.noise import noise_share

    shares = [noise_share(each) for each in ratios]
    largest = max([*shares, noise_share(reference)]) or 1.0
    return tuple(share / largest for share in shares)


def _shown(blocks: Sequence[BlockError], most: int) -> list[BlockError]:
    """The worst blocks, those that are a verdict before all others, in the order of the outputs."""
    order = sorted(range(len(blocks)), key=lambda at: (not blocks[at].verdict, blocks[at].sqnr))
    return [blocks[at] for at in sorted(order[:most])]


def _why(each: BlockError) -> str:
    if each.verdict:
        return ""
    if not each.values:
        return " (no value in any sample)"
    return " (too little power beside the rest of the output to be a verdict)"
