"""`onnx-trtcal check MODEL CACHE`: which tensors a cache covers, and whether a gap costs INT8."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from onnx_trtcal.cli.compiler_flags import report_missing
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.cli.parser_report import already_quantized, print_parser_coverage
from onnx_trtcal.errors import OptionError, listed
from onnx_trtcal.trt.sidecar import completed_sidecar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.audit.coverage import Coverage
    from onnx_trtcal.audit.gaps import Gap
    from onnx_trtcal.audit.log_audit import LogAudit
    from onnx_trtcal.trt.sidecar import Sidecar

__all__ = ["configure", "run"]

_SHOWN = 20  # names per list, unless verbose
# A constant's entry this far from the constant's own largest value deserves a word.
_CONSTANT_TOLERANCE = 0.01


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="ONNX model")
    parser.add_argument("cache", metavar="CACHE", help="calibration cache")
    parser.add_argument("--log", metavar="LOG", help="log of `trtexec --int8 --calib=CACHE --verbose`")
    parser.add_argument(
        "--parser",
        action="store_true",
        help="compare the cache with the network that NVIDIA's own parser makes of the model (extra `compiler`)",
    )
    parser.add_argument(
        "--write-completed",
        metavar="OUT",
        help="also write the cache completed by the missing scales that follow without calibrating",
    )
    parser.add_argument(
        "--ort-custom-ops",
        metavar="LIB",
        action="append",
        default=[],
        help="shared library of ONNX Runtime custom ops (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the account; the exit status is 0 when nothing that is missing costs INT8, else 1."""
    from onnx_trtcal.cli.cache.shared import cache_destinations

    console = Console(quiet=args.quiet, verbose=args.verbose)
    if args.parser:
        return _run_parser(args, console)
    read = [args.model, args.cache, *([args.log] if args.log else [])]
    with cache_destinations([args.write_completed] if args.write_completed else [], read):
        return _check(args, console)


def _check(args: argparse.Namespace, console: Console) -> int:
    from onnx_trtcal import check, read_cache
    from onnx_trtcal.cli.cache.shared import known_sidecar, write_followed

    cache = read_cache(args.cache)
    sidecar = known_sidecar(args.cache, console)
    coverage = check(args.model, args.cache, args.log, args.ort_custom_ops)
    if args.write_completed:
        content = completed_sidecar(
            sidecar, {gap.tensor: gap for gap in coverage.gaps if gap.offer is not None}
        )
        write_followed(args.write_completed, coverage.completed(cache), content)
    if args.json:
        console.json(json_text({"complete": coverage.complete, **asdict(coverage)}))
    else:
        _print(coverage, sidecar, console, args)
    return 0 if coverage.complete else 1


def _run_parser(args: argparse.Namespace, console: Console) -> int:
    """Compares with the parser's network, and with nothing else."""
    from onnx_trtcal import check_parser
    from onnx_trtcal.trt.compiler.build import CompilerMissingError

    for flag, given in (("--log", args.log), ("--write-completed", args.write_completed)):
        if given:
            raise OptionError(f"--parser and {flag} are two checks", fix="run check twice, once with each")
    try:
        coverage = check_parser(args.model, args.cache, args.ort_custom_ops)
    except CompilerMissingError as error:
        return report_missing(error)
    if args.json:
        console.json(json_text({"complete": coverage.complete, **asdict(coverage)}))
    else:
        print_parser_coverage(coverage, console)
    return 0 if coverage.complete else 1


def _print(coverage: Coverage, sidecar: Sidecar, console: Console, args: argparse.Namespace) -> None:
    if coverage.looks_foreign:
        made = f"; its sidecar says that it was made from {sidecar.model_file}" if sidecar.model_file else ""
        console.warn(
            f"this looks like another model's cache: {len(coverage.foreign)} of its "
            f"{len(coverage.covered) + len(coverage.idle) + len(coverage.unknown)} entries name no tensor of "
            f"{args.model}{made}"
        )
    costly = [gap for gap in coverage.gaps if gap.costs != "no"]
    console.line(f"{args.model} and {args.cache}:")
    console.line(f"  {len(coverage.covered)} float tensors have an entry")
    _print_gaps(console, "lack one, which costs INT8", [gap for gap in costly if gap.costs == "yes"])
    _print_gaps(console, "lack one, which may cost INT8", [gap for gap in costly if gap.costs == "maybe"])
    harmless = [gap for gap in coverage.gaps if gap.costs == "no"]
    _print_reasons(console, "have none and need none", {gap.tensor: gap.why for gap in harmless})
    _print_reasons(console, "entries are for tensors that need none", coverage.idle)
    _print_reasons(console, "entries are unknown to the model", coverage.unknown)
    if coverage.subgraph_tensors:
        console.line(
            f"  {coverage.subgraph_tensors} float tensors inside If, Loop or Scan bodies have no scale"
        )
    if coverage.triage is not None:
        _print_triage(coverage.triage, console)
    if coverage.foreign and not coverage.looks_foreign:
        console.warn(
            f"{len(coverage.foreign)} entries name no tensor of this model: does the cache belong to another version "
            "of it?"
        )
    if coverage.quantized:
        console.warn(already_quantized(coverage.quantized))
    _warn_of_made_up(coverage, sidecar, console)
    offers = sum(gap.offer is not None for gap in coverage.gaps)
    if args.write_completed:
        left = sum(gap.offer is None for gap in costly)
        console.line(
            f"wrote {args.write_completed}: {offers} scales added, {left} that may cost INT8 still missing"
        )
    elif offers:
        console.line(
            f"{offers} of the missing scales follow without calibrating: --write-completed OUT writes them"
        )
    console.result("covered" if coverage.complete else "not covered")


def _warn_of_made_up(coverage: Coverage, sidecar: Sidecar, console: Console) -> None:
    """Which scales do not come from values that were seen."""
    from onnx_trtcal.scales import unseen_text

    zeros = [name for name in coverage.zeros if name in sidecar.zeros]
    if zeros:
        console.warn(f"the scale is 0, because calibration saw only zeros: {_named(zeros, console)}")
    unknown = [name for name in coverage.zeros if name not in zeros and name not in coverage.unseen]
    if unknown:
        console.warn(
            "the scale is 0, because calibration saw only zeros or no value at all; quantize leaves the layers that "
            f"read these tensors in floating point: {_named(unknown, console)}"
        )
    if coverage.unseen:
        console.warn(
            f"{unseen_text(coverage.unseen)}; the scale in the cache is made up: calibrate with samples that reach them"
        )


def _print_gaps(console: Console, title: str, gaps: list[Gap]) -> None:
    if not gaps:
        return
    console.line(f"  {len(gaps)} {title}:")
    for gap in gaps if console.verbose else gaps[:_SHOWN]:
        offer = "" if gap.offer is None else f" [can be {gap.offer:.6g}, {gap.offer_from}]"
        console.line(f"    {gap.tensor}: {gap.why}{offer}")
    if len(gaps) > _SHOWN and not console.verbose:
        console.line(f"    ... and {len(gaps) - _SHOWN} more (-v shows all)")


def _print_reasons(console: Console, title: str, reasons: Mapping[str, str]) -> None:
    if not reasons:
        return
    console.line(f"  {len(reasons)} {title}:")
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        console.line(f"    {len(names)}: {why}: {_named(names, console)}")


def _print_triage(account: LogAudit, console: Console) -> None:
    console.line(f"  TensorRT {account.version or '(version not in the log)'}, according to its log:")
    if account.network:
        console.line(f"    {len(account.network)} float tensors in its network")
    console.line(f"    {len(account.lacking)} tensors lack an entry")
    console.line(f"    {len(account.applied)} tensors got the scale of their entry")
    console.line(f"    {len(account.ignored)} entries were applied to no tensor")
    named = sum(bool(layers) for layers in account.blamed.values())
    console.line(
        f"    {len(account.blamed)} tensors that it reports as lacking a scale, {named} of them with the layers "
        "that lost INT8"
    )
    if account.constants:
        lacking = sum(constant.entry is None for constant in account.constants)
        console.line(
            f"    {len(account.constants)} tensors made of known constants, {lacking} of which lack an entry"
        )
    for item in account.constants:
        if item.entry is not None and not math.isclose(item.entry, item.scale, rel_tol=_CONSTANT_TOLERANCE):
            wanted = f"the largest magnitude of {item.constant} / 127 is {item.scale:.6g}"
            console.line(f"      {item.tensor} has {item.entry:.6g}; {wanted}")
    if account.differing:
        count = len(account.differing)
        console.warn(
            f"the log belongs to a build with another cache: {count} scales that it applied are not in this one"
        )
    if account.refused:
        console.warn("TensorRT refused the cache for its header: see `onnx-trtcal cache set-version`")


def _named(names: Sequence[str], console: Console) -> str:
    return listed(names, len(names) if console.verbose else 5)
