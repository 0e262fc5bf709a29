"""`onnx-trtcal evaluate MODEL DATA`: what INT8 costs, before any engine is built."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.cli.block_words import noise_bars, print_verdict
from onnx_trtcal.cli.columns import Column, spark
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import (
    add_data,
    add_options,
    add_preprocess,
    add_qdq,
    data_from,
    options_from,
    qdq_from,
)
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.report_flag import add_report, report_files, simulated_material, write_page_of
from onnx_trtcal.cli.simulation import (
    add_answers,
    add_source,
    answers_from,
    db,
    source_from,
    warn_of_own_data,
    with_db,
)
from onnx_trtcal.cli.task_words import task_lines
from onnx_trtcal.errors import listed
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.evaluation.accuracy import Merit
    from onnx_trtcal.evaluation.comparison import Evaluation, TensorError

__all__ = ["configure", "run"]

_MOST_NAMES = _MOST_TENSORS = 10
_LEAST_DEPTH, _WIDEST_DEPTH = 4, 60


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    add_data(parser, "data to compare on")
    sources = add_source(parser)
    sources.add_argument("--qdq", metavar="PATH", help="take this Q/DQ model instead, by whatever tool")
    add_answers(parser)
    add_report(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_qdq(parser)
    add_options(parser, without=("check_samples", "parser_names"))
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Compares and prints."""
    read = [args.model, *args.data, *filter(None, (args.cache, args.stats, args.calibrate_on, args.qdq))]
    with destinations(report_files(args), read):
        return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    from onnx_trtcal import EvaluationOptions
    from onnx_trtcal.evaluation.evaluate import evaluate_model
    from onnx_trtcal.evaluation.fields import evaluation_fields

    request = EvaluationOptions(
        source=source_from(args),
        options=options_from(args),
        qdq=qdq_from(args),
        quantized=args.qdq,
        **answers_from(args),
    )
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)
    if request.quantized is None:
        warn_of_own_data(request, console)
    listener = ConsoleListener(console, "comparing")
    found, made = evaluate_model(args.model, data_from(args), request, listener)
    if args.json:
        console.json(json_text(evaluation_fields(found)))
    else:
        _print_outputs(found, console.never_quiet())
        _print_tensors(found, console)
    if args.report:
        from onnx_trtcal.report.page.measured import measured_of

        material = simulated_material(args, request, made.source if made else None)
        measured = measured_of(evaluation_fields(found))
        write_page_of(replace(material, made=made, measured=measured), args.report, console)
    return 0


def _print_tensors(found: Evaluation, console: Console) -> None:
    console.line()
    if found.first is None:
        _print_not_compared(found, console)
        console.line("no tensor differs: is anything quantized?")
        return
    shown = list(found.tensors) if console.verbose else found.weakest(_MOST_TENSORS)
    some = "in graph order" if console.verbose else f"the {len(shown)} worst of {len(found.tensors)}"
    read = any(tensor.read_sqnr is not None for tensor in shown)
    title = f"INT8 against FP32, tensor by tensor, {some}"
    console.columns(
        _tensor_columns(shown),
        title=title + (" (as read: after the tensor's own Q/DQ pair):" if read else ":"),
    )
    if not console.verbose:
        console.left_out(len(found.tensors) - len(shown))
    _print_depth(found, console)
    _print_not_compared(found, console)
    console.line(f"error first appears in {found.first.name!r}: {with_db(found.first.sqnr)}")
    for tensor in found.grows():
        console.line(
            f"it grows by {tensor.lost:.1f} dB in {tensor.name!r}: {with_db(tensor.above)} to {with_db(tensor.sqnr)}"
        )


def _tensor_columns(shown: Sequence[TensorError]) -> list[Column]:
    return [
        Column("tensor", tuple(each.name for each in shown)),
        Column("made by", tuple(each.op for each in shown), rank=2),
        Column("SQNR dB", tuple(db(each.sqnr) for each in shown), noise_bars([each.sqnr for each in shown])),
        Column("as read", tuple(db(each.read_sqnr) for each in shown), rank=4),
        Column("lost here", tuple(f"{each.lost:.1f}" if each.lost else "" for each in shown), rank=1),
        Column("cosine", tuple(f"{each.cosine:.6f}" for each in shown), rank=3),
        Column("max error", tuple(f"{each.max_error:.4g}" for each in shown), rank=3),
    ]


def _print_depth(found: Evaluation, console: Console) -> None:
    """The noise of every tensor as a line of characters, where the terminal can draw it."""
    if console.terminal is None or len(found.tensors) < _LEAST_DEPTH:
        return
    label = "noise from the inputs to the outputs: "
    room = max(min(console.terminal.width - len(label), _WIDEST_DEPTH), _LEAST_DEPTH)
    console.line(label + spark(noise_bars([each.sqnr for each in found.tensors]), room))


def _print_not_compared(found: Evaluation, console: Console) -> None:
    outputs = {each.block.output for each in found.blocks}
    for name, each in found.differing.items():
        sizes = f"{_shape(each.fp32)} against {_shape(each.int8)}"
        how = "only compared as a set of rows" if name in outputs else "not compared"
        console.line(
            f"{name!r} is {how} for {each.samples} of {found.samples} samples: INT8 changes its size "
            f"({sizes} in {each.first})"
        )
    if found.empty:
        names = [repr(name) for name in found.empty]
        console.line(f"no value in any sample, so nothing to compare: {listed(names, _MOST_NAMES)}")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _print_outputs(found: Evaluation, console: Console) -> None:
    console.line()
    print_verdict(found.blocks, found.samples, console)
    console.line()
    console.line("end to end:")
    for tensor in found.outputs:
        where = ", where both models give it one size" if tensor.name in found.differing else ""
        console.line(f"  output {tensor.name!r}: {_words(tensor)}{where}")
    for name in found.missing:
        why = "INT8 changes its size in every sample" if name in found.differing else "no value in any sample"
        console.line(f"  output {name!r}: nothing to compare: {why}")
    for name, share in found.equal.items():
        console.line(f"  output {name!r}: the same values for {share:.2%} of the samples")
    for line in task_lines(found):
        console.line(f"  {line}")
    rows = [
        (name, f"{score.fp32:.2%}", f"{score.int8:.2%}", _points(score))
        for name, score in found.scores.items()
    ]
    for name, score in found.metric.items():
        error = "" if score.error is None else f" +/- {score.error:.3g}"
        rows.append(
            (name, f"{score.fp32:.6g}", f"{score.int8:.6g}", f"{score.int8 - score.fp32:+.3g}{error}")
        )
    if rows:
        console.table(("accuracy", "FP32", "INT8", "difference +/- standard error"), rows)


def _words(tensor: TensorError) -> str:
    text = f"SQNR {with_db(tensor.sqnr)}, cosine {tensor.cosine:.6f}, largest error {tensor.max_error:.4g}"
    return text + (f", {tensor.nonfinite} values NaN or Inf" if tensor.nonfinite else "")


def _points(score: Merit) -> str:
    error = "" if score.error is None else f" +/- {100 * score.error:.2f}"
    return f"{100 * (score.int8 - score.fp32):+.2f}{error} points"
