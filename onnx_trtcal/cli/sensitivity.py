"""`onnx-trtcal sensitivity MODEL DATA`: where INT8 hurts, and what floating point there buys back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.cli.block_words import shown_columns, verdict_lines
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
    answers = tuple(damage_cells(found.everything))
    blocks = found.everything.blocks
    columns = ("group", "op", "worst block dB" if len(blocks) > 1 else "output SQNR dB", "block", *answers)
    by = f", ranked by {found.by}" if found.by else ""
    console.line()
    for line in verdict_lines(blocks, found.samples):
        console.line(f"everything in INT8: {line}" if line.startswith("verdict") else line)
    console.line()
    ranked = [(group.name, group.op, *_cells(group.damage, answers)) for group in found.ranked]
    console.table(*shown_columns(columns, ranked), title=f"{how}, {found.samples} samples{by}:")
    console.line()
    rows = [("everything in INT8", "", *_cells(found.everything, answers))]
    rows += [
        (f"without the worst {kept.groups}", kept.last, *_cells(kept.damage, answers)) for kept in found.kept
    ]
    exact = fp32_cells(found.everything)
    if exact:
        rows.append(("FP32", "", "exact", "", *(exact.get(name, "") for name in answers)))
    console.table(*shown_columns(("kept in floating point", "the last of them", *columns[2:]), rows))
    console.line()
    console.line(f"to keep the worst {len(found.kept)} in floating point:")
    console.line(f"  onnx-trtcal quantize … {_flags(found.exclude)}")
    precisions = found.layer_precisions
    if precisions:
        console.line("or, in an implicit build with the cache, pass to trtexec:")
        console.line(
            f"  --int8 --fp16 --precisionConstraints=obey {shell_word(f'--layerPrecisions={precisions}')}"
        )


def _flags(patterns: Sequence[str]) -> str:
    return " ".join(f"--exclude {shell_word(pattern)}" for pattern in patterns)


def _cells(damage: Damage, answers: Sequence[str]) -> tuple[str, ...]:
    cells = damage_cells(damage)
    block = worst_name(damage.worst) if len(damage.blocks) > 1 else None
    return (db(damage.sqnr), block or "", *(cells.get(name, "-") for name in answers))
