"""`onnx-trtcal sensitivity MODEL DATA`: where INT8 hurts, and what floating point there buys back."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

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
from onnx_trtcal.cli.simulation import add_answers, add_source, db, source_from, warn_of_own_data

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.evaluation.ranking import Sensitivity
    from onnx_trtcal.evaluation.variants import Damage

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    add_data(parser, "data to measure damage on; a few dozen samples (--max-samples) will do")
    add_source(parser)
    add_answers(parser)
    parser.add_argument(
        "--leave-out",
        action="store_true",
        help="quantize all but one group at a time, rather than one alone",
    )
    parser.add_argument(
        "--worst",
        type=int,
        default=3,
        metavar="K",
        help="try the K worst groups in floating point (default 3)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_qdq(parser)
    add_options(parser, without=["parser_names"])
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Ranks and prints."""
    from onnx_trtcal import SensitivityOptions, sensitivity

    request = SensitivityOptions(
        source=source_from(args),
        options=options_from(args),
        qdq=qdq_from(args),
        labels=args.labels,
        output=args.output,
        leave_out=args.leave_out,
        worst=args.worst,
    )
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)
    warn_of_own_data(request, console)
    found = sensitivity(args.model, data_from(args), request, listener=ConsoleListener(console, "ranking"))
    if args.json:
        console.result(json_text(_fields(found)))
    else:
        _print(found, console.never_quiet())
    return 0


def _print(found: Sensitivity, console: Console) -> None:
    how = "all quantized but this group, the most helpful first" if found.left_out else "this group alone"
    columns = ("group", "op", "output SQNR dB", "same answer", "top-1")
    console.line()
    console.table(
        columns,
        [(group.name, group.op, *_cells(group.damage)) for group in found.ranked],
        title=f"{how}, {found.samples} samples:",
    )
    console.line()
    rows = [("everything in INT8", "", *_cells(found.everything))]
    rows += [(f"without the worst {kept.groups}", kept.last, *_cells(kept.damage)) for kept in found.kept]
    if found.fp32 is not None:
        rows.append(("FP32", "", "exact", "", f"{found.fp32:.2%}"))
    console.table(("kept in floating point", "the last of them", *columns[2:]), rows)
    console.line()
    console.line(f"to keep the worst {len(found.kept)} in floating point:")
    console.line(f"  onnx-trtcal quantize … {_flags(found.exclude)}")
    precisions = found.layer_precisions
    if precisions:
        console.line("or, in an implicit build with the cache, pass to trtexec:")
        console.line(
            f"  --int8 --fp16 --precisionConstraints=obey {shlex.quote(f'--layerPrecisions={precisions}')}"
        )


def _flags(patterns: Sequence[str]) -> str:
    return " ".join(f"--exclude {shlex.quote(pattern)}" for pattern in patterns)


def _cells(damage: Damage) -> tuple[str, str, str]:
    agreement = "-" if damage.agreement is None else f"{damage.agreement:.2%}"
    top1 = "-" if damage.top1 is None else f"{damage.top1.int8:.2%}"
    return db(damage.sqnr), agreement, top1


def _fields(found: Sensitivity) -> dict[str, object]:
    from dataclasses import asdict

    def damage(of: Damage) -> dict[str, object]:
        return {"sqnr": of.sqnr, **asdict(of)}

    return {
        "samples": found.samples,
        "left_out": found.left_out,
        "fp32": found.fp32,
        "everything": damage(found.everything),
        "ranked": [{**asdict(group), "damage": damage(group.damage)} for group in found.ranked],
        "kept": [{**asdict(kept), "damage": damage(kept.damage)} for kept in found.kept],
        "exclude": list(found.exclude),
        "layer_precisions": found.layer_precisions,
    }
