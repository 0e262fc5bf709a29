"""`onnx-trtcal cache show FILE`: every tensor's scale and dynamic range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.cli.cache.shared import bits, known_sidecar, numbers, warn_of_made_up
from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.trt.cache import Cache, read_cache
from onnx_trtcal.trt.cache_ops import dynamic_range

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this action."""
    parser.add_argument("file", metavar="FILE", help="calibration cache")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Prints the cache."""
    cache = read_cache(args.file)
    warn_of_made_up(args.file, cache.scales, known_sidecar(args.file, console).content, console)
    if args.json:
        console.json(json_text(_fields(args.file, cache)))
        return 0
    rows = [
        (name, *numbers(scale, dynamic_range(scale)), bits(scale)) for name, scale in cache.scales.items()
    ]
    title = f"{args.file}: {cache.header}, {len(rows)} tensors"
    console.never_quiet().table(("tensor", "scale", "dynamic range", "hex"), rows, title)
    return 0


def _fields(file: str, cache: Cache) -> dict[str, object]:
    entries = [
        {"name": name, "scale": scale, "dynamic_range": dynamic_range(scale), "hex": bits(scale)}
        for name, scale in cache.scales.items()
    ]
    return {
        "file": file,
        "header": cache.header,
        "version": cache.version,
        "algorithm": cache.algorithm,
        "tensors": entries,
    }
