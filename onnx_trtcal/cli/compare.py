"""`onnx-trtcal compare STATS MODEL`: every tensor against every method."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onnx_trtcal.cli.block_words import noise_bars
from onnx_trtcal.cli.columns import Column
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import add_options, options_from
from onnx_trtcal.cli.simulation import db, with_db
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.methods.compare import Row
    from onnx_trtcal.options import Options

__all__ = ["configure", "run"]

_MOST_ROWS = 10


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
    from onnx_trtcal.methods.compare import column_names, comparable_methods, csv_text, sort_rows
    from onnx_trtcal.scales import unseen_text
    from onnx_trtcal.support.files import atomic_write

    methods = comparable_methods(args.methods)
    known = column_names(methods)
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
        _print(rows, [str(method) for method in methods], args.sort or "", console)
    if args.csv and not args.json:
        console.line(f"wrote {args.csv}")
    return 0


def _print(rows: Sequence[Row], methods: Sequence[str], sort: str, console: Console) -> None:
    console.verdict(_verdict(rows, methods))
    console.line()
    shown, order = _shown(rows, methods, sort, console)
    each = "SQNR in dB" if console.terminal else "threshold, share of the values clipped and SQNR"
    console.line(f"{each} of the tensor itself, by method, {order}:")
    console.never_quiet().columns(_columns(shown, methods))
    console.never_quiet().left_out(len(rows) - len(shown))
    if console.terminal:
        console.line("thresholds and shares clipped: --csv FILE, --json, or a pipe")


def _shown(
    rows: Sequence[Row], methods: Sequence[str], sort: str, console: Console
) -> tuple[Sequence[Row], str]:
    """The rows to print, and which they are: of too many those that lose most, or whose methods differ most."""
    if console.verbose or sort or len(rows) <= _MOST_ROWS:
        shown = rows if console.verbose else rows[:_MOST_ROWS]
        return shown, f"by {sort}" if sort else "in graph order"
    one = methods[0] if len(methods) == 1 else ""
    order = sorted(range(len(rows)), key=lambda at: rows[at].scores[one].sqnr if one else -rows[at].spread)
    shown = [rows[at] for at in sorted(order[:_MOST_ROWS])]
    which = "that lose most" if one else "for which the choice counts most"
    return shown, f"the {len(shown)} of {len(rows)} tensors {which}, in graph order"


def _verdict(rows: Sequence[Row], methods: Sequence[str]) -> str:
    measured = [row for row in rows if row.values]
    if not measured:
        return "verdict: none, no tensor held a finite value"
    if len(methods) == 1:
        worst = min(measured, key=lambda row: row.scores[methods[0]].sqnr)
        return f"verdict: {methods[0]} gives at least {with_db(worst.scores[methods[0]].sqnr)}, in {worst.tensor!r}"
    wins = Counter(row.best for row in measured if row.spread)
    if not wins:
        return f"verdict: the methods are alike in all of {many(len(measured), 'tensor')}"
    best = max(methods, key=lambda method: wins[method])
    apart = max(measured, key=lambda row: row.spread)
    return (
        f"verdict: {best} has the smallest error in {wins[best]} of {many(len(measured), 'tensor')}; methods are "
        f"{apart.spread:.1f} dB apart at most, in {apart.tensor!r}"
    )


def _columns(rows: Sequence[Row], methods: Sequence[str]) -> list[Column]:
    several = len(methods) > 1
    columns = [
        Column("tensor", tuple(row.tensor for row in rows)),
        Column("distribution", sparks=tuple(row.heights for row in rows), rank=2),
        Column("op", tuple(row.op for row in rows), drawn=False),
        Column("amax", tuple(f"{row.amax:.6g}" for row in rows), rank=4),
    ]
    for method in methods:
        scores = [row.scores[method] for row in rows]
        ratios = [each.sqnr for each in scores]
        columns += [
            Column(method, tuple(f"{row.thresholds[method]:.6g}" for row in rows), drawn=False),
            Column("clipped", tuple(f"{each.clipped:.2g}" for each in scores), drawn=False),
            Column("dB", tuple(f"{ratio:.1f}" for ratio in ratios), drawn=False),
            Column(
                method.partition(":")[0],
                tuple(map(db, ratios)),
                () if several else noise_bars(ratios),
                rank=3 if several else 0,
                piped=False,
            ),
        ]
    most = max((row.spread for row in rows), default=0.0)
    return [
        *columns,
        Column("best", tuple(row.best for row in rows), rank=1, drawn=several),
        Column(
            "spread dB",
            tuple(f"{row.spread:.1f}" for row in rows),
            tuple(row.spread / most if most else 0.0 for row in rows),
            drawn=several,
        ),
    ]
