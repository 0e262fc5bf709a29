"""`onnx-trtcal report STATS MODEL -o report.html`: what a calibration is worth, as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.compiler_flags import report_missing
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import SOLVING, add_options, options_from
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.report_flag import sizes, write_page_of
from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument(
        "scales",
        metavar="STATS",
        nargs="+",
        help="statistics file, from --save-stats or merge, or a calibration cache; of two, the first is the run before "
        "and the page shows what moved",
    )
    parser.add_argument("model", metavar="MODEL", help="the ONNX model file that they are of")
    parser.add_argument("-o", "--output", metavar="PATH", help="page to write (default: ./MODEL.report.html)")
    parser.add_argument("--cache", metavar="PATH", help="show this cache's scales, too, and what it lacks")
    parser.add_argument(
        "--evaluation",
        metavar="JSON",
        action="append",
        default=[],
        help="show what evaluate or sensitivity printed with --json; repeatable, one of each",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="quantize, and show the kernels that NVIDIA's compiler makes of it (extra `compiler`)",
    )
    add_options(parser, *SOLVING)


def run(args: argparse.Namespace) -> int:
    """Writes the page."""
    if len(args.scales) > 2:
        raise OptionError(
            f"report shows one run or two, and these are {len(args.scales)}",
            fix="add up the statistics of shards first: onnx-trtcal merge",
        )
    output = args.output or f"{Path(args.model).stem}.report.html"
    read = [*args.scales, args.model, *args.evaluation, *([args.cache] if args.cache else [])]
    with destinations([output], read):
        return _report(args, output, read)


def _report(args: argparse.Namespace, output: str, read: list[str]) -> int:
    from onnx_trtcal.report.page.options import ReportOptions
    from onnx_trtcal.report.page.write import material_of, with_engine
    from onnx_trtcal.trt.compiler.build import CompilerMissingError, check_installed

    console = Console(quiet=args.quiet, verbose=args.verbose)
    *earlier, scales = args.scales
    request = ReportOptions(
        earlier=earlier[0] if earlier else None,
        cache=args.cache,
        measurements=tuple(args.evaluation),
        compile=args.compile,
    )
    try:
        if args.compile:
            check_installed()
        material = material_of(args.model, scales, request, options_from(args), ConsoleListener(console))
        if args.compile:
            material = with_engine(material, request)
    except CompilerMissingError as error:
        return report_missing(error)
    paths = replace(material.paths, written=sizes(read))
    write_page_of(replace(material, paths=paths), output, console)
    return 0
