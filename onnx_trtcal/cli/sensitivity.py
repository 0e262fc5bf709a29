"""`onnx-trtcal sensitivity MODEL DATA`: where INT8 hurts, and what floating point there buys back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.cli.block_words import noise_bars, print_verdict
from onnx_trtcal.cli.columns import Column
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
)
from onnx_trtcal.cli.task_words import damage_cells, fp32_cells
from onnx_trtcal.evaluation.fields import worst_name
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.printable import shell_word
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.evaluation.ranking import Sensitivity
    from onnx_trtcal.evaluation.variants import Damage

__all__ = ["configure", "run"]

_MOST_GROUPS = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="float ONNX model file")
    add_data(parser, "data to measure damage on; a few dozen samples (--max-samples) will do")
    add_source(parser)
    add_answers(parser)
    add_report(parser)
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
    add_options(parser, without=("check_samples", "parser_names"))
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Ranks and prints."""
    read = [args.model, *args.data, *filter(None, (args.cache, args.stats, args.calibrate_on))]
    with destinations(report_files(args), read):
        return _rank(args)


def _rank(args: argparse.Namespace) -> int:
    from onnx_trtcal import SensitivityOptions
    from onnx_trtcal.evaluation.fields import sensitivity_fields
    from onnx_trtcal.evaluation.ranking import rank_groups

    request = SensitivityOptions(
        source=source_from(args),
        options=options_from(args),
        qdq=qdq_from(args),
        leave_out=args.leave_out,
        worst=args.worst,
        **answers_from(args),
    )
    console = Console(quiet=args.quiet or args.json, verbose=args.verbose)
    warn_of_own_data(request, console)
    listener = ConsoleListener(console, "ranking")
    found, source = rank_groups(args.model, data_from(args), request, listener)
    if args.json:
        console.json(json_text(sensitivity_fields(found)))
    else:
        _print(found, console.never_quiet())
    if args.report:
        from onnx_trtcal.report.page.measured import ranked_of

        material = simulated_material(args, request, source)
        write_page_of(replace(material, ranked=ranked_of(sensitivity_fields(found))), args.report, console)
    return 0


def _print(found: Sensitivity, console: Console) -> None:
    how = "all quantized but this group, the most helpful first" if found.left_out else "this group alone"
    by = f", ranked by {found.by}" if found.by else ""
    console.line()
    print_verdict(found.everything.blocks, found.samples, console, "everything in INT8: ")
    console.line()
    shown = found.ranked if console.verbose else found.ranked[:_MOST_GROUPS]
    some = "" if len(shown) == len(found.ranked) else f", the first {len(shown)} of {len(found.ranked)}"
    console.columns(
        [
            Column("group", tuple(group.name for group in shown)),
            Column("op", tuple(group.op for group in shown), rank=2),
            *_damage_columns([group.damage for group in shown], found.everything),
        ],
        title=f"{how}, {many(found.samples, 'sample')}{by}{some}:",
    )
    console.left_out(len(found.ranked) - len(shown))
    console.line()
    _print_kept(found, console)
    console.line()
    console.line(f"to keep the worst {len(found.kept)} in floating point:")
    console.line(f"  onnx-trtcal quantize … {_flags(found.exclude)}")
    precisions = found.layer_precisions
    if precisions:
        console.line("or, in an implicit build with the cache, pass to trtexec:")
        console.line(
            f"  --int8 --fp16 --precisionConstraints=obey {shell_word(f'--layerPrecisions={precisions}')}"
        )


def _print_kept(found: Sensitivity, console: Console) -> None:
    names = ["everything in INT8", *(f"without the worst {kept.groups}" for kept in found.kept)]
    last = ["", *(kept.last for kept in found.kept)]
    damages: list[Damage | None] = [found.everything, *(kept.damage for kept in found.kept)]
    if fp32_cells(found.everything):
        names, last, damages = [*names, "FP32"], [*last, ""], [*damages, None]
    console.columns(
        [
            Column("kept in floating point", tuple(names)),
            Column("the last of them", tuple(last), rank=2),
            *_damage_columns(damages, found.everything),
        ]
    )


def _flags(patterns: Sequence[str]) -> str:
    return " ".join(f"--exclude {shell_word(pattern)}" for pattern in patterns)


def _damage_columns(damages: Sequence[Damage | None], everything: Damage) -> list[Column]:
    """Columns for what is done to the outputs; None is the float model.

    Bars are shares of the noise with everything in INT8, so that those of several tables can be compared.
    """
    blocks = len(everything.blocks) > 1
    answers = tuple(damage_cells(everything))
    missing, exact = dict.fromkeys(answers, "-"), fp32_cells(everything)
    ratios = [math.inf if each is None else each.sqnr for each in damages]
    cells = [exact if each is None else {**missing, **damage_cells(each)} for each in damages]
    worst = [worst_name(each.worst) if each and blocks else None for each in damages]
    return [
        Column(
            "worst block dB" if blocks else "output SQNR dB",
            tuple(map(db, ratios)),
            noise_bars(ratios, everything.sqnr),
            short="SQNR dB",
        ),
        Column("block", tuple(name or "" for name in worst), rank=3),
        *(Column(name, tuple(each.get(name, "") for each in cells), rank=1) for name in answers),
    ]
