"""`onnx-trtcal solve STATS MODEL`: scales from saved statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import SOLVING, add_options, options_from
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.outputs import (
    add_tables,
    check_tables,
    evaluate_flags,
    table_files,
    write_qdq,
    write_tables,
)
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.options import Options

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("stats", metavar="STATS", help="statistics file, from --save-stats or merge")
    parser.add_argument("model", metavar="MODEL", help="the ONNX model file they were collected from")
    add_tables(parser)
    add_options(parser, *SOLVING)


def run(args: argparse.Namespace) -> int:
    """Solves, writes the cache and its sidecar, and says what came out."""
    options = options_from(args)
    check_tables(args)
    with destinations(table_files(args), [args.model, args.stats]):
        return _solve(args, options)


def _solve(args: argparse.Namespace, options: Options) -> int:
    console = Console(quiet=args.quiet, verbose=args.verbose)

    from onnx_trtcal import solve
    from onnx_trtcal.cli.calibration_report import print_report
    from onnx_trtcal.cli.compiler_flags import report_missing
    from onnx_trtcal.cli.end_result import show_end_result
    from onnx_trtcal.trt.compiler.build import CompilerMissingError

    try:
        calibration = solve(args.stats, args.model, options, listener=ConsoleListener(console))
    except CompilerMissingError as error:
        return report_missing(error)
    tables, written = write_tables(calibration, args)
    print_report(calibration, args.model, tables, written, console, deepstream=args.deepstream)
    write_qdq(calibration, args, console)
    show_end_result(calibration, args.model, (), console, evaluate_flags(tables))
    return 0
