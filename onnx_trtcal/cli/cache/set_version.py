"""`onnx-trtcal cache set-version FILE…`: the same scales under another header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import add_target, cache_destinations, known_sidecar, write_followed
from onnx_trtcal.errors import OptionError
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.cache_ops import set_cache_version
from onnx_trtcal.trt.sidecar import versioned_sidecar
from onnx_trtcal.trt.version import ALGORITHMS

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this action."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="calibration caches")
    parser.add_argument("--trt-version", metavar="VERSION", help="5.1 to 10.16, as 10.3, 10.3.0 or 100300")
    parser.add_argument("--algorithm", choices=ALGORITHMS, help="calibration algorithm (default: as it is)")
    add_target(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Writes each file with its new header, and its sidecar; all are read before the first one is written."""
    if args.output and len(args.files) > 1:
        raise OptionError(
            "several files cannot be written to one -o", fix="use --in-place, or one file at a time"
        )
    targets = [args.output] if args.output else dict.fromkeys(args.files)
    with cache_destinations(targets, args.files if args.output else []):
        changed = [
            (
                file,
                set_cache_version(read_cache(file), args.trt_version, args.algorithm),
                versioned_sidecar(known_sidecar(file, console), args.trt_version),
            )
            for file in args.files
        ]
        for file, cache, content in changed:
            written = write_followed(args.output or file, cache, content)
            console.line(f"wrote {written}: {cache.header}, {len(cache.scales)} tensors")
    return 0
