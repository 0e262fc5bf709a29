"""`onnx-trtcal MODEL DATA`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.cluster import add_cluster, cluster_from
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.equalization import add_equalization, equalized_model, equalized_path
from onnx_trtcal.cli.flags import add_data, add_options, add_preprocess, data_from, options_from
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.outputs import (
    add_tables,
    check_tables,
    evaluate_flags,
    output_path,
    qdq_path,
    table_files,
    write_qdq,
    write_tables,
)
from onnx_trtcal.cli.report_flag import add_report, sizes, write_page_of
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.options import Options

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the main job."""
    parser.add_argument("model", metavar="MODEL", help="ONNX model file")
    add_data(
        parser,
        "directories, files, globs, or lists of files (.txt, .csv): images, .npy, .npz by input name, one "
        "sub-folder per input; or loader.py:function (the documentation lists every form)",
    )
    add_tables(parser)
    parser.add_argument(
        "--save-stats", metavar="PATH", help="also write the statistics, for solve, merge and compare"
    )
    parser.add_argument("--save-folded", metavar="PATH", help="also write the model with BatchNorm folded")
    add_report(parser)
    add_equalization(parser)
    add_cluster(parser)
    add_options(parser)
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrates, writes the cache and its sidecar, and says what came out."""
    options = options_from(args)
    cluster_from(args)
    check_tables(args)
    extra = [path for path in (args.save_stats, args.save_folded, equalized_path(args), args.report) if path]
    console = Console(quiet=args.quiet, verbose=args.verbose)
    checkpoint = Path(f"{output_path(args)}.checkpoint")

    from onnx_trtcal.cli.unfinished import checkpoint_told
    from onnx_trtcal.counting.checkpoint import checkpoint_files

    outputs, inputs = [*table_files(args), *extra], [args.model, *args.data]
    with (
        destinations(outputs, inputs, checkpoint_files(checkpoint)),
        checkpoint_told(checkpoint, options, console),
    ):
        return _calibrate(args, options, console, checkpoint)


def _calibrate(args: argparse.Namespace, options: Options, console: Console, checkpoint: Path) -> int:
    from onnx_trtcal import save_statistics
    from onnx_trtcal.cli.calibration_report import print_report
    from onnx_trtcal.cli.compiler_flags import report_missing
    from onnx_trtcal.cli.end_result import show_end_result
    from onnx_trtcal.counting.checkpoint import remove_checkpoints
    from onnx_trtcal.trt.compiler.build import CompilerMissingError

    try:
        model, written = equalized_model(args, options, console)
        calibration = _calibrated(model, args, options, console, checkpoint)
    except CompilerMissingError as error:
        return report_missing(error)
    tables, files = write_tables(calibration, args)
    written += files
    if args.save_stats:
        save_statistics(args.save_stats, calibration.collection)
        written.append(Path(args.save_stats))
    if args.save_folded:
        calibration.write_folded(args.save_folded)
        written.append(Path(args.save_folded))
    remove_checkpoints(checkpoint)
    print_report(calibration, model, tables, written, console, deepstream=args.deepstream)
    made = write_qdq(calibration, args, console)
    if made is not None:
        show_end_result(made, model, args.data, console, ["--qdq", str(qdq_path(args))])
    shown = show_end_result(calibration, model, args.data, console, evaluate_flags(tables))
    if args.report:
        from onnx_trtcal.report.page.material import Material, Paths
        from onnx_trtcal.scale_source import from_calibration

        paths = Paths(
            model=str(model),
            stats=args.save_stats or "",
            cache=str(tables.get("trt", "")),
            data=tuple(args.data),
            written=sizes(written),
        )
        material = Material(
            from_calibration(calibration), paths, calibration.options, made=made, end_result=shown.found
        )
        write_page_of(material, args.report, console)
    return 0


def _calibrated(
    model: str, args: argparse.Namespace, options: Options, console: Console, checkpoint: Path
) -> Calibration:
    """The calibration, on this machine or on those of a cluster."""
    listener = ConsoleListener(console)
    if cluster := cluster_from(args):
        from onnx_trtcal import calibrate_on_cluster

        return calibrate_on_cluster(model, data_from(args), options, cluster, listener=listener)
    from onnx_trtcal import calibrate

    return calibrate(model, data_from(args), options, listener=listener, checkpoint=checkpoint)
