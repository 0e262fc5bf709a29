"""`onnx-trtcal dequantize MODEL -o float.onnx --cache out.cache`: back from Q/DQ to implicit quantization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument(
        "model", help="an ONNX model with Q/DQ nodes: from ModelOpt, QAT, ONNX Runtime or quantize"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write the float model")
    parser.add_argument("--cache", metavar="FILE", help="where to write the calibration cache")
    parser.add_argument(
        "--trt-version",
        default="10.3",
        metavar="VERSION",
        help="TensorRT version the cache is for (default 10.3)",
    )
    parser.add_argument(
        "--layer-precisions", action="store_true", help="print what to pass to trtexec --layerPrecisions"
    )
    parser.add_argument(
        "--symmetric-only",
        action="store_true",
        help="refuse uint8 and zero-points, rather than cover their range symmetrically",
    )


def run(args: argparse.Namespace) -> int:
    """Writes what was asked for and says what could not be kept."""
    from onnx_trtcal.errors import OptionError
    from onnx_trtcal.support.destinations import destinations

    if not (args.output or args.cache or args.layer_precisions):
        raise OptionError("nothing to do", fix="give -o FILE, --cache FILE or --layer-precisions")
    with destinations([path for path in (args.output, args.cache) if path], [args.model]):
        return _dequantize(args)


def _dequantize(args: argparse.Namespace) -> int:
    from onnx_trtcal import dequantize, write_cache
    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.qdq.read.precisions import layer_precisions
    from onnx_trtcal.trt.cache import header_for

    console = Console(quiet=args.quiet, verbose=args.verbose)
    header_for(args.trt_version)  # refuses a version before any work is done
    done = dequantize(args.model, symmetric_only=args.symmetric_only)
    for note in done.notes:
        console.warn(note)
    if done.covered:
        name, what = next(iter(done.covered.items()))
        console.warn(f"{len(done.covered)} tensors had no symmetric INT8 grid, for example {name!r}: {what}")
        for name, what in done.covered.items():
            console.detail(f"  {name}: {what}")
    if args.output:
        for path in done.save(args.output):
            console.line(f"{path}: {path.stat().st_size:,} bytes, float model")
    if args.cache:
        write_cache(args.cache, done.cache(args.trt_version))
        console.line(f"{Path(args.cache)}: {len(done.scales)} scales")
    if done.missing:
        console.warn(
            f"{len(done.missing)} float tensors have no scale (for example {done.missing[0]!r}): TensorRT runs the "
            "layers that touch them in floating point"
        )
        for name in done.missing:
            console.detail(f"  no scale: {name}")
    if args.layer_precisions:
        console.result(layer_precisions(done.precisions))
        console.line("pass it as --layerPrecisions=... with --precisionConstraints=obey --int8 --fp16")
    return 0
