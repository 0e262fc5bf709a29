"""`onnx-trtcal compare STATS MODEL`: every tensor against every method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import add_options, options_from
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.methods.compare import Row
    from onnx_trtcal.options import Options

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("stats", metavar="STATS", help="statistics file, from --save-stats or merge")
    parser.add_argument("model", metavar="MODEL", help="the ONNX model file they were collected from")
    parser.add_argument(
        "--method",
        action="append",
        dest="methods",
        default=[],
        metavar="METHOD",
        help="compare this method; repeatable (default: every one that needs nothing but the statistics)",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="tensor, op, values, amax, best, spread, METHOD.threshold, METHOD.clipped or METHOD.sqnr: what is "
        "worst or largest first (default: graph order)",
    )
    parser.add_argument("--csv", metavar="FILE", help="also write the table, in full precision, as CSV")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser, "allow_quantized", "ort_custom_ops", "threads")


def run(args: argparse.Namespace) -> int:
    """Prints the comparison, or writes it."""
    options = options_from(args)
    console = Console(quiet=args.quiet, verbose=args.verbose)
    with destinations([args.csv] if args.csv else [], [args.stats, args.model]):
        return _compare(args, options, console)


def _compare(args: argparse.Namespace, options: Options, console: Console) -> int:
    from onnx_trtcal import compare
    from onnx_trtcal.cli.jsontext import json_text
    from onnx_trtcal.methods.compare import columns, comparable_methods, csv_text, sort_rows
    from onnx_trtcal.scales import unseen_text
    from onnx_trtcal.support.files import atomic_write

    methods = comparable_methods(args.methods)
    known = columns(methods)
    rows = compare(args.stats, args.model, args.methods, options)
    unseen = [row.tensor for row in rows if not row.values]
    if unseen:
        console.warn(f"{unseen_text(unseen)}: no method has a threshold for them")
    if args.sort:
        rows = sort_rows(rows, args.sort, known)
    if args.csv:
        atomic_write(args.csv, csv_text(rows, known).encode())
    if args.json:
        console.json(json_text([row.cells() for row in rows]))
    else:
        _print(rows, [str(method) for method in methods], console)
    if args.csv and not args.json:
        console.line(f"wrote {args.csv}")
    return 0


def _print(rows: Sequence[Row], methods: Sequence[str], console: Console) -> None:
    heads = [head for method in methods for head in (method, "clipped", "dB")]
    lines = []
    for row in rows:
        cells = [row.tensor, row.op, f"{row.amax:.6g}"]
        for method in methods:
            scored = row.scores[method]
            cells += [f"{row.thresholds[method]:.6g}", f"{scored.clipped:.2g}", f"{scored.sqnr:.1f}"]
        lines.append([*cells, row.best, f"{row.spread:.1f}"])
    console.never_quiet().table(["tensor", "op", "amax", *heads, "best", "spread dB"], lines)
    console.line("threshold, share of the values clipped and SQNR of the tensor itself, by method")
