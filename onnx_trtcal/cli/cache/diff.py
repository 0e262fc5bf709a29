"""`onnx-trtcal cache diff FILE FILE2`: two caches side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import known_sidecar, numbers, warn_of_made_up
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.errors import OptionError
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.cache_ops import Differences, diff_caches

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this action."""
    parser.add_argument("first", metavar="FILE", help="calibration cache")
    parser.add_argument("second", metavar="FILE2", help="the cache to compare it with")
    parser.add_argument("--top", type=int, metavar="N", help="print the first N differing tensors only")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 when they are not the same")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Prints the differences; the exit status is 1 for `--exit-code` with a difference, else 0."""
    if args.top is not None and args.top < 0:
        raise OptionError(f"--top is {args.top}", fix="give 0 or more, or omit it to see all")
    files = (args.first, args.second)
    caches = [read_cache(file) for file in files]
    for file, cache in zip(files, caches, strict=True):
        warn_of_made_up(file, cache.scales, known_sidecar(file, console).content, console)
    found = diff_caches(*caches)
    if args.json:
        console.json(json_text(_fields(found, args)))
    else:
        _print(found, args, console.never_quiet())
    return 1 if args.exit_code and not found.same else 0


def _print(found: Differences, args: argparse.Namespace, console: Console) -> None:
    console.line(f"first:  {args.first}: {found.headers[0]}")
    console.line(f"second: {args.second}: {found.headers[1]}")
    changed = found.changed
    console.line(f"{len(found.common)} tensors in both, {len(changed)} of them with different scales")
    shown = changed[: args.top]
    if shown:
        rows = [(item.name, *numbers(item.first, item.second, item.ratio)) for item in shown]
        console.table(("tensor", "first", "second", "second/first"), rows)
    if len(shown) < len(changed):
        console.line(f"  ... and {len(changed) - len(shown)} more")
    for which, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            console.line(f"{len(names)} only in the {which}:")
            for name in names:
                console.line(f"  {name}")


def _fields(found: Differences, args: argparse.Namespace) -> dict[str, object]:
    return {
        "first": {"file": args.first, "header": found.headers[0]},
        "second": {"file": args.second, "header": found.headers[1]},
        "same": found.same,
        "common": [asdict(item) for item in found.common],
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
    }
