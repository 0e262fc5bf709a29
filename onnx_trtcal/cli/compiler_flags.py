"""Flags of the verbs that run NVIDIA's compiler, and what they do without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.cli.streams import print_error
from onnx_trtcal.trt.compiler.options import GPUS, CompileOptions, parse_shapes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from onnx_trtcal.trt.compiler.build import CompilerMissingError

__all__ = ["add_compiler", "compile_options", "report_missing"]

_MISSING = 3  # exit status: an optional package is not installed


def add_compiler(parser: Any) -> None:
    """Adds the flags that say what to compile for, to a parser or a group of one."""
    parser.add_argument(
        "--gpu",
        choices=GPUS,
        default=CompileOptions.gpu,
        help=f"GPU to build for (default {CompileOptions.gpu})",
    )
    parser.add_argument(
        "--shapes",
        metavar="NAME:1x3x224x224",
        action="append",
        default=[],
        help="shape of an input whose dimensions the model leaves open (default: batch 1); repeatable",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=CompileOptions.timeout,
        help=f"give a build up after this time (default {CompileOptions.timeout:g})",
    )


def compile_options(
    args: argparse.Namespace, known: Mapping[str, tuple[int, ...]] | None = None
) -> CompileOptions:
    """CompileOptions from the flags given; shapes that are known otherwise count where no flag gives one.

    Raises:
        OptionError: on a value that means nothing.
    """
    shapes = {**(known or {}), **parse_shapes(args.shapes)}
    return CompileOptions(gpu=args.gpu, shapes=shapes, timeout=args.timeout)


def report_missing(error: CompilerMissingError) -> int:
    """Prints how to install the compiler; returns the exit status."""
    print_error(error)
    return _MISSING
