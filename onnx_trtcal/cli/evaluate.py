"""`onnx-trtcal evaluate MODEL DATA`: what INT8 costs, before any engine is built."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import add_options, add_preprocess, add_qdq, options_from, qdq_from
from onnx_trtcal.cli.listener import ConsoleListener

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.comparison import Evaluation, TensorError

__all__ = ["add_scales", "configure", "db", "run", "source_from"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    parser.add_argument("data", metavar="DATA", help="data to compare on")
    given = add_scales(parser)
    given.add_argument("--qdq", metavar="PATH", help="a Q/DQ model, by whatever tool")
    parser.add_argument(
        "--labels", metavar="PATH", help="right classes: CSV with file,label or index,label; or .npy"
    )
    parser.add_argument(
        "--metric",
        metavar="FILE.py:NAME",
        help="your metric: a function of (outputs, labels), or a class with update(outputs, labels) and result()",
    )
    parser.add_argument("--output", metavar="NAME", help="the output that holds one value per class")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_qdq(parser)
    add_options(parser)
    add_preprocess(parser)


def add_scales(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds the flags that say where scales come from."""
    group = parser.add_argument_group("where the scales come from (default: calibration on DATA itself)")
    given = group.add_mutually_exclusive_group()
    given.add_argument("--cache", metavar="PATH", help="a calibration cache, also one that TensorRT wrote")
    given.add_argument("--stats", metavar="PATH", help="a statistics file")
    given.add_argument("--calibrate-on", metavar="DATA", help="other data, to calibrate on")
    return given


def source_from(args: argparse.Namespace, console: Console) -> str | None:
    """The source named by one of the flags; None, with a warning, for the data itself."""
    source: str | None = args.cache or args.stats or args.calibrate_on
    if source is None and not getattr(args, "qdq", None):
        console.warn(
            "calibrated on the data it is judged by, which flatters: "
            "give --cache, --stats or --calibrate-on with other data"
        )
    return source


def run(args: argparse.Namespace) -> int:
    """Compares and prints."""
    options, qdq = options_from(args), qdq_from(args)
    console = Console(args.quiet or args.json, args.verbose)

    from dataclasses import asdict

    from onnx_trtcal.cli.jsontext import json_text
    from onnx_trtcal.evaluation.evaluate import evaluate

    found = evaluate(
        args.model,
        args.data,
        source_from(args, console),
        options,
        qdq,
        quantized=args.qdq,
        labels=args.labels,
        metric=args.metric or "",
        output=args.output or "",
        listener=ConsoleListener(console, "comparing"),
    )
    if args.json:
        console.result(json_text(asdict(found)))
    else:
        _print_tensors(found, console)
        _print_outputs(found, Console(quiet=False, verbose=args.verbose))
    return 0


def db(value: float | None) -> str:
    """A ratio in dB as text."""
    if value is None:
        return "-"
    return "exact" if value == math.inf else f"{value:.1f}"


def _print_tensors(found: Evaluation, console: Console) -> None:
    console.line()
    console.table(
        ("tensor", "made by", "SQNR dB", "as read", "lost here", "cosine", "max error"),
        [
            (
                tensor.name,
                tensor.op,
                db(tensor.sqnr),
                db(tensor.read_sqnr),
                f"{tensor.lost:.1f}" if tensor.lost else "",
                f"{tensor.cosine:.6f}",
                f"{tensor.max_error:.4g}",
            )
            for tensor in found.tensors
        ],
        title="INT8 against FP32, in graph order (as read: behind the tensor's own Q/DQ pair):",
    )
    if found.first is None:
        console.line("no tensor differs: is anything quantized?")
        return
    console.line(f"error first appears in {found.first.name!r}: {db(found.first.sqnr)} dB")
    for tensor in found.grows():
        console.line(
            f"it grows by {tensor.lost:.1f} dB in {tensor.name!r}: {db(tensor.above)} to {db(tensor.sqnr)} dB"
        )


def _print_outputs(found: Evaluation, console: Console) -> None:
    console.line()
    console.line(f"end to end, {found.samples} samples:")
    for tensor in found.outputs:
        console.line(f"  output {tensor.name!r}: {_words(tensor)}")
    for name, share in found.equal.items():
        console.line(f"  output {name!r}: the same values for {share:.2%} of the samples")
    if found.agreement is not None:
        console.line(f"  same top-1 from both, by {found.classes!r}: {found.agreement:.2%}")
    rows = [
        (name, f"{score.fp32:.2%}", f"{score.int8:.2%}", _points(score))
        for name, score in found.scores.items()
    ]
    for name, score in found.metric.items():
        error = "" if score.error is None else f" ± {score.error:.3g}"
        rows.append(
            (name, f"{score.fp32:.6g}", f"{score.int8:.6g}", f"{score.int8 - score.fp32:+.3g}{error}")
        )
    if rows:
        console.table(("accuracy", "FP32", "INT8", "difference ± standard error"), rows)


def _words(tensor: TensorError) -> str:
    text = f"SQNR {db(tensor.sqnr)} dB, cosine {tensor.cosine:.6f}, largest error {tensor.max_error:.4g}"
    return text + (f", {tensor.nonfinite} values NaN or Inf" if tensor.nonfinite else "")


def _points(score: Merit) -> str:
    return f"{100 * (score.int8 - score.fp32):+.2f} ± {100 * (score.error or 0):.2f} points"
