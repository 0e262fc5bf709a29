"""`onnx-trtcal cache rename FILE --map MAP`: the same scales under other tensor names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import add_target, cache_destinations, known_sidecar, write_followed
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.cache_ops import rename_tensors
from onnx_trtcal.trt.rename_map import read_names
from onnx_trtcal.trt.sidecar import renamed_sidecar

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
    """Writes the cache with new names, and its sidecar."""
    target = args.output or args.file
    with cache_destinations([target], [args.map, *([args.file] if args.output else [])]):
        names = read_names(args.map)
        renamed = rename_tensors(read_cache(args.file), names)
        sidecar = known_sidecar(args.file, console)
        written = write_followed(target, renamed.cache, renamed_sidecar(sidecar, names))
    if renamed.unknown:
        unknown = ", ".join(repr(name) for name in renamed.unknown)
        console.warn(f"{len(renamed.unknown)} old names of the map are not in {args.file}: {unknown}")
    console.line(f"wrote {written}: {renamed.count} of {len(renamed.cache.scales)} tensors renamed")
    return 0
