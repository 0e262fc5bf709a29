"""`onnx-trtcal compile MODEL [MODEL2]`: what NVIDIA's compiler runs in INT8."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.compiler_flags import add_compiler, compile_options, report_missing
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.destinations import destinations

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.trt.compiler.compile_model import Compilation
    from onnx_trtcal.trt.compiler.layers import Layer
    from onnx_trtcal.trt.compiler.options import CompileOptions
    from onnx_trtcal.trt.compiler.problems import Problem
    from onnx_trtcal.trt.compiler.summary import Summary

__all__ = ["configure", "run"]

_ROWS = 10  # layers shown, unless verbose


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("models", metavar="MODEL", nargs="+", help="ONNX model, or two to compare")
    add_compiler(parser)
    parser.add_argument("--engine", metavar="PATH", help="write the engine, which TensorRT for RTX loads")
    parser.add_argument(
        "--require-int8", action="store_true", help="exit with 1 when a layer with Q/DQ pairs is not in INT8"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Builds the models and prints the verdicts; 1 when one does not build, or loses INT8 with --require-int8."""
    if len(args.models) > 2:
        raise OptionError(f"compile takes one model or two, and these are {len(args.models)}")
    if args.engine and len(args.models) > 1:
        raise OptionError("--engine is for one model, and these are two")
    with destinations([args.engine] if args.engine else [], args.models):
        return _compile(args)


def _compile(args: argparse.Namespace) -> int:
    from onnx_trtcal.trt.compiler.build import CompilerMissingError

    options = compile_options(args)
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)
    try:
        made = [_compiled(model, options, args.engine) for model in args.models]
    except CompilerMissingError as error:
        return report_missing(error)
    _print(made, console, args)
    lost = args.require_int8 and any(each.lost for each in made)
    return 1 if lost or not all(each.built for each in made) else 0


def _compiled(model: str, options: CompileOptions, engine: str | None) -> Compilation:
    from onnx_trtcal.trt.compiler.compile_model import compile_model

    made = compile_model(model, options, engine=engine)
    # In a float model no layer has a pair, which needs no explanation.
    if any(layer.has_pairs for layer in made.layers) and not all(layer.has_pairs for layer in made.layers):
        from onnx_trtcal.audit.unpaired import why_unpaired

        made = made.explained(why_unpaired(model))
    return made


def _print(made: Sequence[Compilation], console: Console, args: argparse.Namespace) -> None:
    from onnx_trtcal.trt.compiler.differences import find_differences

    differences = find_differences(*made) if len(made) == 2 and all(each.built for each in made) else ()
    if args.json:
        fields = {"models": [_fields(each) for each in made], "differences": [asdict(d) for d in differences]}
        console.json(json_text(fields))
        return
    for each in made:
        _print_one(each, console)
    if len(made) == 2 and all(each.built for each in made):
        _print_bytes(made[0], made[1], console)
        console.line(f"layers that differ: {len(differences) or 'none'}")
        shown = differences if console.verbose else differences[:_ROWS]
        names = [Path(each.model).name for each in made]
        names = names if len(set(names)) == 2 else [each.model for each in made]
        rows = [(d.name, d.op, d.first, d.second) for d in shown]
        if rows:
            console.table(("layer", "op", *names), rows)
        _print_hidden(len(differences), console)
    if args.engine and made[0].built:
        console.line(f"wrote {args.engine} ({made[0].engine_bytes:,} bytes)")


def _fields(made: Compilation) -> dict[str, object]:
    fields = asdict(made)
    if made.summary is not None:
        fields["summary"] |= {"int8_share": made.summary.int8_share, "bytes_moved": made.summary.bytes_moved}
    return fields


def _print_one(made: Compilation, console: Console) -> None:
    console.result(f"{made.model}: {_verdict(made)}")
    if made.version:
        took = f" in {made.seconds:.1f} s" if made.built else ""
        console.line(
            f"  by the compiler of TensorRT for RTX {made.version}, for {made.gpu.upper()}{took}; it is for SM86 and "
            "later, and TensorRT 8 to 10 may fuse otherwise"
        )
    for name, shape in made.shapes.items():
        console.line(f"  {name} is {'x'.join(map(str, shape))}")
    for problem in made.problems:
        _print_problem(problem, console)
    if made.summary is not None:
        _print_summary(made.summary, console)
        _print_layers(made.layers, console)
    for text in made.warnings:
        console.detail(f"  the compiler warns: {text}")


def _verdict(made: Compilation) -> str:
    if made.summary is None:
        if any(problem.stage == "stopped" for problem in made.problems):
            return "not known: NVIDIA's compiler was stopped before it was done"
        internal = all(problem.stage == "internal" for problem in made.problems)
        return "does not build: an internal error of NVIDIA's compiler" if internal else "does not build"
    count = made.summary
    if not count.layers:
        return "builds, and has no Conv, ConvTranspose, Gemm or MatMul"
    text = f"builds; {count.int8_layers} of {_counted(count.layers, 'layer')} in INT8"
    if count.macs:
        text += f", {100 * count.int8_share:.1f} % of the multiply-adds"
    if not any(layer.has_pairs for layer in made.layers):
        return f"{text}: no layer has Q/DQ pairs"
    return f"{text}; {_counted(len(made.lost), 'layer')} with Q/DQ pairs in float" if made.lost else text


def _print_problem(problem: Problem, console: Console) -> None:
    node = f"{problem.op} {problem.node}".strip()
    console.result(f"  {problem.stage} [{problem.rule}]{f' {node}' if node else ''}: {problem.what}")
    console.result(f"    to fix: {problem.fix}")


def _print_summary(count: Summary, console: Console) -> None:
    console.line(
        f"  {_counted(count.kernels, 'kernel')}, of which {count.converting} only convert; moved in an inference: "
        f"{_size(count.float_bytes)} float and {_size(count.int8_bytes)} INT8"
    )
    console.detail(
        f"  and {_size(count.accumulator_bytes)} between INT8 kernels and their own epilogues, logged apart"
    )


def _print_layers(layers: Sequence[Layer], console: Console) -> None:
    left = sorted((layer for layer in layers if not layer.int8), key=lambda layer: -(layer.macs or 0))
    if left:
        console.line(f"  {_counted(len(left), 'layer')} not in INT8, the most multiply-adds first:")
        _print_rows(left if console.verbose else left[:_ROWS], console)
        _print_hidden(len(left), console)
    found = [layer for layer in layers if layer.int8]
    if console.verbose and found:
        console.line("  in INT8:")
        _print_rows(found, console)


def _print_rows(layers: Sequence[Layer], console: Console) -> None:
    widths = [
        max((len(text) for text in column), default=0) for column in zip(*map(_cells, layers), strict=True)
    ]
    for layer in layers:
        name, op, macs = _cells(layer)
        why = layer.why or ", ".join(layer.kernels)
        console.line(f"    {name:<{widths[0]}}  {op:<{widths[1]}}  {macs:>{widths[2]}}  {why}")


def _cells(layer: Layer) -> tuple[str, str, str]:
    return layer.name, layer.op, "?" if layer.macs is None else _scaled(layer.macs)


def _print_hidden(count: int, console: Console) -> None:
    if count > _ROWS and not console.verbose:
        console.line(f"    ... and {count - _ROWS} more (-v shows all)")


def _print_bytes(first: Compilation, second: Compilation, console: Console) -> None:
    moved = {each.model: each.summary.bytes_moved for each in (first, second) if each.summary is not None}
    if len(moved) < 2 or len(set(moved.values())) == 1:
        console.result("both move the same number of bytes")
        return
    fewer, more = sorted(moved, key=lambda name: moved[name])
    share = 100 * (1 - moved[fewer] / moved[more])
    console.result(
        f"{fewer} moves {share:.1f} % fewer bytes: {_size(moved[fewer])} against {_size(moved[more])}"
    )


def _size(count: int) -> str:
    return f"{_scaled(count)}B" if count >= 1000 else f"{count} B"


def _scaled(count: int) -> str:
    for step, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return str(count)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
