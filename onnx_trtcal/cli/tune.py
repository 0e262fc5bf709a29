"""`onnx-trtcal tune MODEL DATA --eval TEST`: the cheapest INT8 that is good enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import (
    add_data,
    add_options,
    add_preprocess,
    add_qdq,
    checked,
    data_from,
    options_from,
    qdq_from,
)
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.report_flag import add_report, report_files, sizes
from onnx_trtcal.cli.simulation import add_answers, answers_from
from onnx_trtcal.options import parse_time
from onnx_trtcal.report.command_text import quantize_text
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.printable import shell_word

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.tuning.score import Score
    from onnx_trtcal.tuning.step import Step
    from onnx_trtcal.tuning.tuning import Tuning

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    from onnx_trtcal.tuning.options import TuneOptions, parse_drop, parse_share

    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    add_data(parser, "data to calibrate on")
    parser.add_argument(
        "-o", "--output-model", metavar="PATH", help="Q/DQ model to write (default: ./MODEL.int8.onnx)"
    )
    group = parser.add_argument_group("target")
    group.add_argument(
        "--eval",
        metavar="TEST",
        action="append",
        required=True,
        dest="test",
        help="data to measure on: steps are chosen on one half of it, and the result is reported on the other "
        "(repeatable)",
    )
    group.add_argument(
        "--max-drop",
        metavar="DROP",
        type=checked(parse_drop),
        default=TuneOptions.max_drop,
        help="how far accuracy, mAP, agreement with FP32 or your metric may fall: 1%% or 0.01 is one point; where the "
        "outputs hold no answers, the most noise in a block of them (default 1%%)",
    )
    group.add_argument(
        "--lower-is-better", action="store_true", help="--metric is an error, which must not rise by more"
    )
    group.add_argument(
        "--budget",
        metavar="TIME",
        type=checked(parse_time),
        dest="time",  # `budget` is that of one search, in Options
        help="take the best after this time, as 60s or 10m",
    )
    group.add_argument("--eval-samples", metavar="N", type=int, help="use the first N samples of TEST only")
    group.add_argument(
        "--max-float",
        metavar="SHARE",
        type=checked(parse_share),
        default=TuneOptions.max_float,
        help="most multiply-adds that may stay in floating point (default 50%%)",
    )
    group.add_argument(
        "--max-layers",
        metavar="N",
        type=int,
        help="most layers that may be left in floating point for the target",
    )
    group.add_argument(
        "--no-compile", action="store_true", help="do not ask NVIDIA's compiler what an engine moves"
    )
    add_answers(parser)
    add_report(parser)
    parser.add_argument("--json", action="store_true", help="print every step and the result as JSON")
    add_qdq(parser, without=("equalize", "round"))
    add_options(parser, without=("budget", "check_samples", "method", "method_for", "steps"))
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Tunes, writes what came out, and says how to repeat it; 1 where the target is not met."""
    from onnx_trtcal import TuneOptions, tune
    from onnx_trtcal.tuning.tuning import companions

    output = args.output_model or f"{Path(args.model).stem}.int8.onnx"
    notes = Path(f"{output}.tune.json")
    request = TuneOptions(
        options=options_from(args),
        qdq=qdq_from(args),
        max_drop=args.max_drop,
        lower_is_better=args.lower_is_better,
        budget=args.time,
        eval_samples=args.eval_samples,
        max_float=args.max_float,
        max_layers=args.max_layers,
        compile=not args.no_compile,
        notes=notes,
        **answers_from(args),
    )
    read = [args.model, *args.data, *args.test, *([args.labels] if args.labels else [])]
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)
    with destinations([output, *companions(output), *report_files(args)], read, [notes]):
        try:
            tuned = tune(
                args.model,
                data_from(args),
                args.test[0] if len(args.test) == 1 else args.test,
                request,
                listener=ConsoleListener(console, "measuring"),
            )
        except KeyboardInterrupt:
            if notes.exists():
                console.warn(f"{notes} holds what was found until then: the same command resumes from there")
            raise
        written = [*tuned.save(output), *tuned.write_cache(output)]
        if args.report:
            written.append(_write_report(args, tuned, written))
    if tuned.stopped:
        console.line(f"{notes} holds all steps: the same command with more time resumes from there")
    else:
        notes.unlink(missing_ok=True)
    command = quantize_text(args.model, args.data, tuned.options, tuned.qdq, str(output))
    if args.json:
        console.json(json_text(_fields(tuned, command, written)))
    else:
        _print(tuned, command, written, Path(output), console.never_quiet())
    return 0 if tuned.met else 1


def _write_report(args: argparse.Namespace, tuned: Tuning, written: list[Path]) -> Path:
    from onnx_trtcal.report.page.material import Material, Paths
    from onnx_trtcal.report.page.write import write_page

    made = tuned.quantization
    qdq, cache = (str(path) for path in written[:1] + [each for each in written if each.suffix == ".cache"])
    paths = Paths(args.model, cache=cache, qdq=qdq, data=tuple(args.data), written=sizes(written))
    return write_page(Material(made.source, paths, tuned.options, tuned.qdq, made, tuning=tuned), args.report)


def _print(tuned: Tuning, command: str, written: list[Path], output: Path, console: Console) -> None:
    from onnx_trtcal.tuning.score import NOISE
    from onnx_trtcal.tuning.step import amount, figure_and_drop, figure_text, target_text

    best, report, request = tuned.best, tuned.report, tuned.request
    wanted = target_text(report, request.max_drop)
    console.line()
    console.line(f"taken: {best.setting.name}")
    for half, score in (("where steps were chosen", best.score), ("on the other half", report)):
        error = f" ± {amount(score, score.error)}" if score.error else ""
        fp32 = "" if score.figure == NOISE else f"; {figure_text(score, score.fp32)} in FP32"
        console.line(f"  {half}, {score.samples} samples: {figure_and_drop(score)}{error}{fp32}")
    console.line(f"  {_cost_text(best)}")
    console.line(_verdict(tuned, wanted))
    console.line()
    for path in written:
        console.line(f"wrote {path} ({path.stat().st_size:,} bytes)")
    console.line()
    console.line("the same model again:")
    console.line(f"  {command}")
    _print_cache(tuned, output, console)


def _cost_text(step: Step) -> str:
    cost = step.cost
    text = f"{cost.float_layers} of {cost.layers} layers and {cost.share:.1%} of the multiply-adds in floating point"
    if step.engine is None:
        return text
    engine = step.engine
    return (
        f"{text}; {engine.kernels} kernels that move {engine.bytes_moved / 1e6:.2f} MB, {engine.float_bytes / 1e6:.2f} "
        "MB of them floats"
    )


def _verdict(tuned: Tuning, wanted: str) -> str:
    if tuned.met:
        return f"the target is met: {wanted}"
    if tuned.found:
        return (
            f"the target, {wanted}, is met where steps were chosen and missed on the other half: give more test data "
            "or a smaller --max-drop"
        )
    why = tuned.stopped or "nothing is left to try within --max-float and --max-layers"
    return f"the target, {wanted}, is not met: {why}; this is the best that was found"


def _print_cache(tuned: Tuning, output: Path, console: Console) -> None:
    """What TensorRT up to 10 takes instead, and what that leaves out."""
    from onnx_trtcal.trt.trtexec import dynamic_shapes, trtexec_line
    from onnx_trtcal.trt.version import parse_version
    from onnx_trtcal.tuning.tuning import companions

    cache, precisions, float_model = companions(output)
    model = str(float_model) if tuned.rewritten else str(tuned.quantization.source.model.path)
    made = tuned.quantization
    shapes = dynamic_shapes(made.source.model.inputs, made.source.seen_shapes)
    version = parse_version(tuned.options.trt_version)
    line = f"{trtexec_line(model, str(cache), version[:2], shapes)} --fp16"
    if tuned.layer_precisions:
        line += f' --precisionConstraints=obey "--layerPrecisions=$(cat {shell_word(str(precisions))})"'
    console.line("TensorRT up to 10, from the cache instead:")
    console.line(f"  {line}")
    if tuned.rewritten:
        console.line(f"  the cache is for {float_model}, the float model that equalization made")
    if tuned.best.setting.round:
        console.line(
            "  rounding has no part in a cache: TensorRT rounds weights itself, so the drop will be larger there"
        )


def _fields(tuned: Tuning, command: str, written: list[Path]) -> dict[str, object]:
    best = tuned.best
    return {
        "met": tuned.met,
        "max_drop": tuned.request.max_drop,
        "stopped": tuned.stopped or None,
        "steps": [_step_fields(step) | {"taken": step is best} for step in tuned.steps],
        "taken": _step_fields(best),
        "report": _score_fields(tuned.report),
        "command": command,
        "layer_precisions": tuned.layer_precisions,
        "cache_is_for_rewritten_model": tuned.rewritten,
        "written": [str(path) for path in written],
    }


def _score_fields(score: Score) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(score)


def _step_fields(step: Step) -> dict[str, Any]:
    return {"name": step.setting.name, **step.record()}
