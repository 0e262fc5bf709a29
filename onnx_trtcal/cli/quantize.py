"""`onnx-trtcal quantize MODEL DATA|STATS|CACHE -o model.int8.onnx`: the calibration inside the model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.compiler_flags import add_compiler, compile_options, report_missing
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import (
    add_data,
    add_options,
    add_preprocess,
    add_qdq,
    data_from,
    options_from,
    qdq_from,
    without_effect,
)
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.cli.report_flag import add_report, report_files, sizes, write_page_of
from onnx_trtcal.cli.verified import print_verification, verification_fields
from onnx_trtcal.errors import listed
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.trt.compiler.build import CompilerMissingError, check_installed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.audit.verification import Verification
    from onnx_trtcal.evaluation.end_result import EndResult
    from onnx_trtcal.options import Options
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.scale_source import ScaleSource

__all__ = ["configure", "print_quantization", "run"]

_MOST_NAMES = 5
# What --json tells of rounding.
_ROUNDING = ("layers", "rounded", "corrected", "before", "after")
_WHENCE = {"statistics": "statistics", "cache": "a cache"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    add_data(
        parser,
        "data to calibrate on, a statistics file, or a calibration cache, also one that TensorRT wrote",
        "DATA|STATS|CACHE",
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="Q/DQ model to write (default: ./MODEL.int8.onnx)"
    )
    parser.add_argument("--json", action="store_true", help="print what became of every layer as JSON")
    group = parser.add_argument_group("verification")
    group.add_argument(
        "--verify",
        action="store_true",
        help="build what was written with NVIDIA's compiler; exit with 1 when a quantized layer is not in INT8",
    )
    add_compiler(group)
    add_report(parser)
    add_qdq(parser)
    add_options(parser, without=["parser_names"])
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the Q/DQ model and says which layers it quantizes."""
    if args.verify:
        try:
            check_installed()
        except CompilerMissingError as error:
            return report_missing(error)
    options, qdq = options_from(args), qdq_from(args)
    output = args.output or f"{Path(args.model).stem}.int8.onnx"
    with destinations([output, *report_files(args)], [args.model, *args.data], [f"{output}.data"]):
        return _quantize(args, options, qdq, output)


def _quantize(args: argparse.Namespace, options: Options, qdq: QdqOptions, output: str) -> int:
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)

    from onnx_trtcal import quantize
    from onnx_trtcal.cli.end_result import show_end_result
    from onnx_trtcal.cli.jsontext import json_text

    made = quantize(args.model, data_from(args), options, qdq, listener=ConsoleListener(console))
    written = made.save(output)
    if ignored := without_effect(args, made.source.kind):
        console.warn(f"no effect on scales from {_WHENCE[made.source.kind]}: {', '.join(ignored)}")
    print_quantization(made, written, console, qdq)
    verified = _verified(made, written[0], qdq, args) if args.verify else None
    if verified is not None and not args.json:
        print_verification(verified, console)
    found = show_end_result(made, args.model, args.data, console, ["--qdq", str(written[0])])
    if args.report:
        _write_report(args, made, written, found.found, verified, console)
    if args.json:
        layers = [{"name": each.name, "op": each.op, "left": each.reason or None} for each in made.layers]
        fields: dict[str, object] = {
            "written": [str(path) for path in written],
            "scales": made.source.kind,
            "layers": layers,
        }
        fields |= {"carried": made.source.propagated, "missing": made.source.missing}
        if made.equalization is not None:
            fields["equalization"] = made.equalization.record()
        if found.fields:
            fields["end_result"] = found.fields
        if made.rounding is not None:
            fields["rounding"] = {name: getattr(made.rounding, name) for name in _ROUNDING}
        if verified is not None:
            fields["verified"] = verification_fields(verified)
        console.json(json_text(fields))
    return 0 if verified is None or verified.holds else 1


def _write_report(
    args: argparse.Namespace,
    made: Quantization,
    written: Sequence[Path],
    found: EndResult | None,
    verified: Verification | None,
    console: Console,
) -> None:
    from onnx_trtcal.report.page.material import Material, Paths

    kind = made.source.kind
    paths = Paths(
        model=args.model,
        stats=args.data[0] if kind == "statistics" else "",
        cache=args.data[0] if kind == "cache" else "",
        qdq=str(written[0]),
        data=tuple(args.data) if kind == "data" else (),
        written=sizes(written),
    )
    compilation = verified.compilation if verified is not None else None
    calibration = made.source.calibration
    material = Material(
        made.source,
        paths,
        calibration.options if calibration else None,
        qdq_from(args),
        made,
        end_result=found,
        compilation=compilation,
    )
    write_page_of(material, args.report, console)


def _verified(made: Quantization, path: Path, qdq: QdqOptions, args: argparse.Namespace) -> Verification:
    """What was written, built for the flags' shapes, or for those of the data at batch 1."""
    from onnx_trtcal.audit.verification import verify
    from onnx_trtcal.trt.trtexec import dynamic_shapes

    calibration = made.source.calibration
    seen = calibration.seen_shapes if calibration else {}
    known = {name: each.smallest for name, each in dynamic_shapes(made.source.model.inputs, seen).items()}
    return verify(path, made.quantized.quantized_names, qdq.target, compile_options(args, known))


def print_quantization(
    made: Quantization, written: Sequence[Path], console: Console, qdq: QdqOptions
) -> None:
    """Which layers run in INT8, which do not and why, the files written, and what to run next.

    Args:
        made: what came out.
        written: its files, the model first.
        console: where to print.
        qdq: the options it was made with.
    """
    from onnx_trtcal.report.mixed import mixed_in_model

    console.line()
    _print_origin(made.source, console)
    for line in made.equalization.details if made.equalization else ():
        console.detail(f"  {line}")
    _print_layers(made, console)
    for text in mixed_in_model(made.quantized.placement, made.source.scales):
        console.line(text)
    for pattern in made.quantized.placement.unmatched:
        console.warn(f"--exclude {pattern!r} matches no node and has no effect")
    dead = made.quantized.inserted.dead
    if dead:
        name, count = next(iter(dead.items()))
        console.line(
            f"{sum(dead.values())} weight channels are almost zero ({count} of {name!r}) and got a harmless scale"
        )
    for path in written:
        console.line(f"wrote {path} ({path.stat().st_size:,} bytes)")
    if qdq.target != "rtx":
        _print_next(made, str(written[0]), console, qdq)


def _print_origin(source: ScaleSource, console: Console) -> None:
    if source.kind != "cache":
        console.line(f"{len(source.scales)} tensors have a scale")
        return
    foreign = [name for name in (*source.foreign, *source.parser_names) if name not in source.unusable]
    given = len(source.scales) - len(source.propagated) - len(foreign)
    console.line(f"{given} tensors of the model have a scale in the cache")
    if source.propagated:
        console.line(
            f"{len(source.propagated)} more hold the values of one of them or vanish in its group, and take its "
            f"scale: {listed(source.propagated, _MOST_NAMES)}"
        )
    if source.unusable:
        console.warn(
            f"{len(source.unusable)} entries of the cache are not usable scales and count as missing, "
            f"calibrate again for them: {listed(source.unusable, _MOST_NAMES)}"
        )
    if source.missing:
        console.warn(
            f"{len(source.missing)} float tensors have no scale: {listed(source.missing, _MOST_NAMES)}"
        )
    if source.foreign:
        console.line(
            f"{len(source.foreign)} entries name no tensor of the model: {listed(source.foreign, _MOST_NAMES)}"
        )
    for names, text in ((source.missing, "no scale"), (source.foreign, "not in the model")):
        for name in names:
            console.detail(f"  {text}: {name}")


def _print_layers(made: Quantization, console: Console) -> None:
    layers = made.layers
    placement = made.quantized.placement
    console.line(
        f"{len(placement.quantized)} of {len(layers)} Conv, ConvTranspose, Gemm and MatMul quantized; "
        f"{len(placement.activations)} Q/DQ pairs on activations"
    )
    for reason, count in made.reasons.most_common():
        names = [layer.name for layer in layers if layer.reason == reason]
        console.line(f"  {count} left in floating point: {reason}: {listed(names, _MOST_NAMES)}")
    for reason, count in Counter(placement.float_skips.values()).items():
        console.line(f"  {count} skip inputs of residual Adds left in floating point: {reason}")
    for layer in layers:
        console.detail(f"  {layer.op} {layer.name}: {layer.reason or 'quantized'}")


def _print_next(made: Quantization, path: str, console: Console, qdq: QdqOptions) -> None:
    from onnx_trtcal.trt.trtexec import dynamic_shapes, explicit_line

    dynamic = [
        spec.name
        for spec in made.source.model.inputs
        if any(not isinstance(size, int) for size in spec.shape)
    ]
    shapes = dynamic_shapes(made.source.model.inputs, made.source.seen_shapes)
    console.line()
    console.line("build an engine:")
    # Strongly typed builds, which float16 in the model is for, came with TensorRT 9 and 10.
    float32 = qdq.high_precision == "fp32"
    older = "TensorRT 8 to 10:" if float32 and qdq.target == "tensorrt" else "TensorRT 10:"
    console.line(f"  {'TensorRT 11:':<17}  {explicit_line(path, 11, shapes, float32=float32)}")
    console.line(f"  {older:<17}  {explicit_line(path, 10, shapes, float32=float32)}")
    unseen = [name for name in dynamic if name not in shapes]
    if unseen:
        console.line(
            f"  with --minShapes, --optShapes and --maxShapes for {listed(unseen, _MOST_NAMES)}: "
            "no data was run and no sidecar beside the cache tells them, so none are known"
        )
