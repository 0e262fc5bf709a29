"""What `check --parser` prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onnx_trtcal.errors import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.audit.parser_coverage import ParserCoverage, ParserGap
    from onnx_trtcal.cli.console import Console

__all__ = ["already_quantized", "print_parser_coverage"]

_ROWS = 10  # tensors shown, unless verbose
_COSTS = {"yes": "which costs INT8", "maybe": "which may cost INT8", "no": "which costs nothing"}


def print_parser_coverage(coverage: ParserCoverage, console: Console) -> None:
    """The verdict, then what lacks an entry by what it costs and by kind, then the entries left over."""
    from onnx_trtcal.audit.parser_coverage import KINDS

    console.result("covered" if coverage.complete else "not covered")
    total = len(coverage.covered) + len(coverage.gaps)
    console.line(
        f"  {len(coverage.covered)} of {total} float tensors have an entry, in the network that the parser of TensorRT "
        f"for RTX {coverage.version} makes; other versions may name helper layers otherwise"
    )
    for costs, text in _COSTS.items():
        gaps = [gap for gap in coverage.gaps if gap.costs == costs]
        if gaps:
            console.line(f"  {len(gaps)} lack one, {text}:")
        for kind, count in Counter(gap.kind for gap in gaps).items():
            console.line(f"    {count} {KINDS[kind]}")
        _print_rows(gaps if costs != "no" or console.verbose else [], console)
    for why, count in Counter(coverage.strangers.values()).items():
        names = [name for name, reason in coverage.strangers.items() if reason == why]
        shown = listed(names, len(names) if console.verbose else 5)
        console.line(f"  {count} of the entries not in that network: {why}: {shown}")
    if coverage.looks_foreign:
        console.warn(
            "this looks like another model's cache: most of its entries name no tensor of this model"
        )
    if coverage.quantized:
        console.warn(already_quantized(coverage.quantized))


def already_quantized(ops: Sequence[str]) -> str:
    """What to say of a cache for a model that has Q/DQ pairs or quantized operators."""
    return f"the model is quantized already ({', '.join(ops)}): TensorRT reads no calibration cache for it"


def _print_rows(gaps: list[ParserGap], console: Console) -> None:
    shown = gaps if console.verbose else gaps[:_ROWS]
    for gap in shown:
        console.line(f"      {gap.tensor}: {gap.why}")
    if len(shown) < len(gaps):
        console.line(f"      ... and {len(gaps) - len(shown)} more (-v shows all)")
