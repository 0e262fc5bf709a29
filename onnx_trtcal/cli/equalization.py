"""`--equalize` of the main job: the float model is rewritten first, and the cache belongs to what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.flags import data_from
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.outputs import output_path
from onnx_trtcal.qdq.options import QdqOptions

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.options import Options

__all__ = ["add_equalization", "equalized_model", "equalized_path"]


def add_equalization(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument(
        "--equalize",
        choices=("off", "free"),
        default="off",
        help="free: even out the channels of tensors first by rewriting weights, exact in floating point and kept "
        "where it helps on samples held back; writes a float model, and the cache is for that (default off)",
    )
    parser.add_argument(
        "--equalized-model",
        metavar="PATH",
        help="float model that --equalize writes (default: MODEL.equalized.onnx beside the cache)",
    )


def equalized_path(args: argparse.Namespace) -> str:
    """Where --equalize writes the float model; empty where it was not asked for."""
    if args.equalize == "off":
        return ""
    beside = output_path(args).with_name(f"{Path(args.model).stem}.equalized.onnx")
    return str(args.equalized_model or beside)


def equalized_model(args: argparse.Namespace, options: Options, console: Console) -> tuple[str, list[Path]]:
    """The model to calibrate, written first where that is a new one.

    Returns:
        Its path, and the files written.

    Raises:
        CalibrationError: from reading the data several times, or when a file cannot be written.
    """
    path = equalized_path(args)
    if not path:
        if args.equalized_model:
            console.warn("--equalized-model has no effect without --equalize")
        return args.model, []
    from onnx_trtcal import equalize

    # TensorRT may run every layer in INT8 when it has a cache.
    every = QdqOptions(gemv=True)
    found = equalize(
        args.model, data_from(args), args.equalize, options, every, listener=ConsoleListener(console)
    )
    for line in found.details:
        console.detail(f"  {line}")
    if found.equalized is None:
        console.line(f"no model is written: the cache is for {args.model}")
        return args.model, []
    return path, list(found.save(path))
