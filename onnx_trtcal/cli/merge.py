"""`onnx-trtcal merge STATS… -o all.stats`: one statistics file from those of shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.console import Console
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    import argparse

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument(
        "stats", metavar="STATS", nargs="+", help="statistics files of one model, each of other samples"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="merge some of the shards of a run, for another merge to complete; without it, missing ones are an error",
    )
    parser.add_argument("-o", "--output", metavar="PATH", required=True, help="statistics file to write")


def run(args: argparse.Namespace) -> int:
    """Writes the sum of the files."""
    from onnx_trtcal import merge, save_statistics

    console = Console(quiet=args.quiet, verbose=args.verbose)
    with destinations([args.output], args.stats):
        total = merge(args.stats, partial=args.partial)
        save_statistics(args.output, total)
    size = Path(args.output).stat().st_size
    counted = f"{many(len(total.samples), 'sample')} of {many(len(args.stats), 'file')}"
    console.line(f"wrote {args.output} ({size:,} bytes): {counted}, {len(total.histograms)} tensors")
    if total.shards:
        console.line(f"still missing: {total.shards.named(total.shards.missing)}")
    return 0
