"""`onnx-trtcal cache rename FILE --map MAP`: the same scales under other tensor names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import add_target
from onnx_trtcal.support.destinations import check_destinations
from onnx_trtcal.trt.cache import read_cache, write_cache
from onnx_trtcal.trt.cache_ops import rename_tensors
from onnx_trtcal.trt.rename_map import read_names

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this action."""
    parser.add_argument("file", metavar="FILE", help="calibration cache")
    parser.add_argument(
        "--map", metavar="MAP", required=True, help="JSON object, or CSV/TSV lines: old name, new name"
    )
    add_target(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Writes the cache with new names."""
    target = args.output or args.file
    check_destinations([target], [args.map, *([args.file] if args.output else [])])
    renamed = rename_tensors(read_cache(args.file), read_names(args.map))
    write_cache(target, renamed.cache)
    if renamed.unknown:
        names = ", ".join(repr(name) for name in renamed.unknown)
        console.warn(f"{len(renamed.unknown)} old names of the map are not in {args.file}: {names}")
    console.line(f"wrote {target}: {renamed.count} of {len(renamed.cache.scales)} tensors renamed")
    return 0
