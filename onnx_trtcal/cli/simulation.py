"""Flags and words that the verbs that simulate INT8 share: where scales come from, and which answers are right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.evaluation.request import SimulationOptions

__all__ = ["add_answers", "add_source", "db", "source_from", "warn_of_own_data"]


def add_source(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds the flags that name a scale source; returns their group.

    argparse shows that they exclude each other only where nothing is added to the parser between them.
    """
    group = parser.add_argument_group("where the scales come from (default: calibration on DATA itself)")
    sources = group.add_mutually_exclusive_group()
    sources.add_argument("--cache", metavar="PATH", help="a calibration cache, also one that TensorRT wrote")
    sources.add_argument("--stats", metavar="PATH", help="a statistics file")
    sources.add_argument("--calibrate-on", metavar="DATA", help="other data, to calibrate on")
    return sources


def add_answers(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which answers are right, and where the model gives its own."""
    parser.add_argument(
        "--labels",
        metavar="PATH",
        help="right classes: a table of file,label or index,label, one label a line, .npy, a folder per class, or YOLO "
        "or COCO annotations with one class per image",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        default="",
        help="the output that holds one value per class (default: the first that does)",
    )


def source_from(args: argparse.Namespace) -> str | None:
    """The scale source that one of the flags names; None for the data itself."""
    source: str | None = args.cache or args.stats or args.calibrate_on
    return source


def warn_of_own_data(request: SimulationOptions, console: Console) -> None:
    """Warns when the scales come from the very data that INT8 is measured on."""
    if request.source is None:
        console.warn(
            "calibrated on the same data that INT8 is measured on, which flatters: "
            "give --cache, --stats or --calibrate-on with other data"
        )


def db(value: float | None) -> str:
    """A ratio in dB as text."""
    if value is None:
        return "-"
    return "exact" if value == math.inf else f"{value:.1f}"
