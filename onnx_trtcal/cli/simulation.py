"""Flags and words that the verbs that simulate INT8 share: where scales come from, and which answers are right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx_trtcal.evaluation.tasks.names import HEADS, IOU, NMS_IOU, SCORE_THRESHOLD, TASKS

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.evaluation.request import SimulationOptions

__all__ = ["add_answers", "add_source", "answers_from", "db", "source_from", "warn_of_own_data", "with_db"]


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
        "or COCO annotations with one class per image; with --task detect boxes, as COCO's .json or a folder of YOLO's "
        "text files; with --task segment a folder of PNG masks",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        default="",
        help="the output that holds one value per class, or what else the task reads (default: the first that does)",
    )
    _add_task(parser)


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        choices=TASKS,
        default="",
        help="what the outputs are for: top-1 classes, detections, classes of pixels, or none of these (default: "
        "classify where an output has one value per class)",
    )
    parser.add_argument(
        "--head",
        choices=tuple(HEADS),
        default="",
        help="how outputs hold detections (default: told by their shapes, names and values, and printed)",
    )
    for flag, default, text in (
        ("--score-threshold", SCORE_THRESHOLD, "detections count above this score"),
        ("--iou", IOU, "least overlap of a detection in FP32 and one in INT8 that are the same"),
        ("--nms-iou", NMS_IOU, "boxes of a class that overlap a better one by more are dropped first"),
    ):
        parser.add_argument(
            flag,
            type=float,
            metavar="F",
            default=default,
            help=f"{text} (default {default})",
        )
    parser.add_argument(
        "--metric",
        metavar="FILE.py:NAME",
        default="",
        help="your metric: a function of (outputs, labels), or a class with update(outputs, labels) and result()",
    )


def answers_from(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of SimulationOptions that the flags of `add_answers` fill."""
    names = ("labels", "output", "task", "head", "score_threshold", "iou", "nms_iou", "metric")
    return {name: getattr(args, name) for name in names}


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
    """A ratio in dB as text, for a column that says dB."""
    if value is None:
        return "-"
    return "exact" if value == math.inf else f"{value:.1f}"


def with_db(value: float) -> str:
    """The same with its unit."""
    return db(value) if value == math.inf else f"{db(value)} dB"
