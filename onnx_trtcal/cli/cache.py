"""`onnx-trtcal cache show|diff|merge|set-version|rename`: calibration caches as files."""

from __future__ import annotations

import argparse
import struct
from typing import Any

from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.destinations import check_destinations
from onnx_trtcal.trt.cache import Cache, read_cache, write_cache
from onnx_trtcal.trt.cache_ops import (
    PREFERENCES,
    Differences,
    diff,
    dynamic_range,
    merge,
    rename,
    set_version,
)
from onnx_trtcal.trt.rename_map import read_names
from onnx_trtcal.trt.version import ALGORITHMS

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds one sub-command per thing to do."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    show = _add(actions, "show", "print every tensor's scale and dynamic range", _show)
    show.add_argument("file", metavar="FILE")
    show.add_argument("--json", action="store_true", help="print JSON")

    compare = _add(actions, "diff", "compare two caches, the tensors that differ most first", _diff)
    compare.add_argument("first", metavar="FILE")
    compare.add_argument("second", metavar="FILE2")
    compare.add_argument("--top", type=int, metavar="N", help="print the first N differing tensors only")
    compare.add_argument("--exit-code", action="store_true", help="exit with 1 when they are not the same")
    compare.add_argument("--json", action="store_true", help="print JSON")

    join = _add(actions, "merge", "put the entries of several caches into one", _merge)
    join.add_argument("files", metavar="FILE", nargs="+")
    join.add_argument("-o", "--output", metavar="OUT", required=True, help="the cache to write")
    join.add_argument(
        "--prefer",
        choices=PREFERENCES,
        default="first",
        help="which scale stays where files disagree (default first)",
    )

    head = _add(
        actions, "set-version", "rewrite the header: TensorRT version, algorithm or both", _set_version
    )
    head.add_argument("files", metavar="FILE", nargs="+")
    head.add_argument("--trt-version", metavar="VERSION", help="5.1 to 10.16, as 10.3, 10.3.0 or 100300")
    head.add_argument("--algorithm", choices=ALGORITHMS, help="calibration algorithm (default: as it is)")
    _add_target(head)

    change = _add(actions, "rename", "give tensors new names", _rename)
    change.add_argument("file", metavar="FILE")
    change.add_argument(
        "--map", metavar="MAP", required=True, help="JSON object, or CSV/TSV lines: old name, new name"
    )
    _add_target(change)


def run(args: argparse.Namespace) -> int:
    """Does what was asked for; the exit status is 0, or 1 for `diff --exit-code` with a difference."""
    return int(args.handler(args, Console(args.quiet, args.verbose)))


def _add(actions: Any, name: str, text: str, handler: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    # The verb has these two as well; here they may also follow the action.
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="OUT", help="the cache to write")
    target.add_argument("-i", "--in-place", action="store_true", help="write over FILE")


def _show(args: argparse.Namespace, console: Console) -> int:
    cache = read_cache(args.file)
    if args.json:
        console.result(json_text(_cache_fields(args.file, cache)))
        return 0
    rows = [
        (name, *_numbers(scale, dynamic_range(scale)), _hex(scale)) for name, scale in cache.scales.items()
    ]
    _always(console).table(
        ("tensor", "scale", "dynamic range", "hex"), rows, f"{args.file}: {cache.header}, {len(rows)} tensors"
    )
    return 0


def _diff(args: argparse.Namespace, console: Console) -> int:
    if args.top is not None and args.top < 0:
        raise OptionError(f"--top is {args.top}", fix="give 0 or more, or leave it out to see all")
    found = diff(read_cache(args.first), read_cache(args.second))
    if args.json:
        console.result(json_text(_diff_fields(found, args)))
    else:
        _print_diff(found, args, _always(console))
    return 1 if args.exit_code and not found.same else 0


def _print_diff(found: Differences, args: argparse.Namespace, console: Console) -> None:
    console.line(f"first:  {args.first}: {found.headers[0]}")
    console.line(f"second: {args.second}: {found.headers[1]}")
    changed = found.changed
    console.line(f"{len(found.common)} tensors in both, {len(changed)} of them with another scale")
    shown = changed[: args.top]
    if shown:
        rows = [(item.name, *_numbers(item.first, item.second, item.ratio)) for item in shown]
        console.table(("tensor", "first", "second", "second/first"), rows)
    if len(shown) < len(changed):
        console.line(f"  ... and {len(changed) - len(shown)} more")
    for which, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            console.line(f"{len(names)} only in the {which}:")
            for name in names:
                console.line(f"  {name}")


def _merge(args: argparse.Namespace, console: Console) -> int:
    check_destinations([args.output], args.files)
    caches = [read_cache(file) for file in args.files]
    merged = merge(caches, args.prefer)
    headers = dict.fromkeys(cache.header for cache in caches)
    if len(headers) > 1:
        console.warn(f"the headers differ ({', '.join(headers)}); {merged.cache.header} is written")
    write_cache(args.output, merged.cache)
    if merged.conflicts:
        rows = [
            (
                item.name,
                *("-" if scale is None else f"{scale:.6g}" for scale in item.scales),
                f"{item.kept:.6g}",
            )
            for item in merged.conflicts
        ]
        columns = ("tensor", *(f"file {number}" for number in range(1, len(caches) + 1)), "kept")
        console.table(columns, rows, f"{len(rows)} conflicts, the {args.prefer} kept:")
    console.line(f"wrote {args.output}: {merged.cache.header}, {len(merged.cache.scales)} tensors")
    return 0


def _set_version(args: argparse.Namespace, console: Console) -> int:
    if args.output and len(args.files) > 1:
        raise OptionError("one -o cannot take several files", fix="use --in-place, or one file at a time")
    if args.output:
        check_destinations([args.output], args.files)
    changed = [(file, set_version(read_cache(file), args.trt_version, args.algorithm)) for file in args.files]
    for file, cache in changed:
        write_cache(args.output or file, cache)
        console.line(f"wrote {args.output or file}: {cache.header}, {len(cache.scales)} tensors")
    return 0


def _rename(args: argparse.Namespace, console: Console) -> int:
    target = args.output or args.file
    check_destinations([target], [args.map, *([args.file] if args.output else [])])
    renamed = rename(read_cache(args.file), read_names(args.map))
    write_cache(target, renamed.cache)
    if renamed.unknown:
        listed = ", ".join(repr(name) for name in renamed.unknown)
        console.warn(f"{len(renamed.unknown)} old names of the map are not in {args.file}: {listed}")
    console.line(f"wrote {target}: {renamed.count} of {len(renamed.cache.scales)} tensors renamed")
    return 0


def _always(console: Console) -> Console:
    """A console that prints tables and lines even when quiet: here they are what was asked for."""
    return Console(quiet=False, verbose=console.verbose)


def _cache_fields(file: str, cache: Cache) -> dict[str, object]:
    entries = [
        {
            "name": name,
            "scale": scale,
            "dynamic_range": dynamic_range(scale),
            "hex": _hex(scale),
        }
        for name, scale in cache.scales.items()
    ]
    return {
        "file": file,
        "header": cache.header,
        "version": cache.version,
        "algorithm": cache.algorithm,
        "tensors": entries,
    }


def _diff_fields(found: Differences, args: argparse.Namespace) -> dict[str, object]:
    return {
        "first": {"file": args.first, "header": found.headers[0]},
        "second": {"file": args.second, "header": found.headers[1]},
        "same": found.same,
        "common": [
            {
                "name": item.name,
                "first": item.first,
                "second": item.second,
                "ratio": item.ratio,
            }
            for item in found.common
        ],
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
    }


def _hex(scale: float) -> str:
    return f"{struct.unpack('<I', struct.pack('<f', scale))[0]:x}"


def _numbers(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.6g}" for value in values)
