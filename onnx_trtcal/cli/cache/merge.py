"""`onnx-trtcal cache merge FILE… -o OUT`: one cache with the entries of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import (
    cache_destinations,
    known_sidecar,
    numbers,
    warn_of_made_up,
    write_followed,
)
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.cache_ops import PREFERENCES, Conflict, merge_caches
from onnx_trtcal.trt.sidecar import merged_sidecar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this action."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="calibration caches")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the cache to write")
    parser.add_argument(
        "--prefer",
        choices=PREFERENCES,
        default="first",
        help="which scale to keep where files disagree (default first)",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Writes the merged cache and its sidecar, and prints where its sources disagree."""
    with cache_destinations([args.output], args.files):
        return _merge(args, console)


def _merge(args: argparse.Namespace, console: Console) -> int:
    caches = [read_cache(file) for file in args.files]
    merged = merge_caches(caches, args.prefer)
    headers = dict.fromkeys(cache.header for cache in caches)
    if len(headers) > 1:
        console.warn(f"the headers differ ({', '.join(headers)}); {merged.cache.header} is written")
    sidecars = [known_sidecar(file, console) for file in args.files]
    content = merged_sidecar(sidecars, [cache.scales for cache in caches], merged.cache.scales)
    written = write_followed(args.output, merged.cache, content)
    warn_of_made_up(args.output, merged.cache.scales, content, console)
    if merged.conflicts:
        _print_conflicts(merged.conflicts, args.prefer, console)
    console.line(f"wrote {written}: {merged.cache.header}, {len(merged.cache.scales)} tensors")
    return 0


def _print_conflicts(conflicts: Sequence[Conflict], prefer: str, console: Console) -> None:
    rows = []
    for item in conflicts:
        scales = ["-" if scale is None else numbers(scale)[0] for scale in item.scales]
        rows.append((item.name, *scales, *numbers(item.kept)))
    columns = ("tensor", *(f"file {number}" for number in range(1, len(rows[0]) - 1)), "kept")
    console.table(columns, rows, f"{len(rows)} conflicts, the {prefer} kept:")
