"""`onnx-trtcal collect MODEL DATA`: statistics only, of all data or of one shard of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.cli.cluster import add_cluster, cluster_from
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.flags import add_data, add_options, add_preprocess, checked, data_from, options_from
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.data.shard import Shard
from onnx_trtcal.errors import CalibrationError, OptionError
from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.options import Options
    from onnx_trtcal.stats.collection import Collection

__all__ = ["configure", "run"]

# What has no part in statistics.
_SOLVING = ("method", "method_for", "budget", "steps", "zero_scales", "check_samples")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    parser.add_argument("model", metavar="MODEL", help="ONNX model file")
    add_data(parser, "as calibrate takes it; every shard is given all of it")
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=checked(Shard.parse),
        help="count every Nth sample only, I from 1 to N: N runs anywhere, whose files merge adds up to the bytes of "
        "one run",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="statistics file to write (default: ./MODEL.stats, of a shard ./MODEL.I-of-N.stats)",
    )
    add_cluster(parser)
    add_options(parser, without=_SOLVING)
    add_preprocess(parser)


def run(args: argparse.Namespace) -> int:
    """Collects, and writes the statistics file."""
    options = options_from(args)
    if cluster_from(args) and args.shard:
        raise OptionError("--ray collects all shards, and --shard one", fix="give one of the two")
    output = _output(args)
    console = Console(quiet=args.quiet, verbose=args.verbose)
    checkpoint = Path(f"{output}.checkpoint")

    from onnx_trtcal.cli.unfinished import checkpoint_told
    from onnx_trtcal.counting.checkpoint import checkpoint_files

    with (
        destinations([output], [args.model, *args.data], checkpoint_files(checkpoint)),
        checkpoint_told(checkpoint, options, console),
    ):
        _check_not_another(output, args.shard)
        return _collect(args, options, console, output)


def _collect(args: argparse.Namespace, options: Options, console: Console, output: Path) -> int:
    from onnx_trtcal import collect, collect_on_cluster, save_statistics
    from onnx_trtcal.counting.checkpoint import remove_checkpoints

    checkpoint = Path(f"{output}.checkpoint")
    model, data, listener = args.model, data_from(args), ConsoleListener(console, "collecting")
    if cluster := cluster_from(args):
        collection = collect_on_cluster(model, data, options, cluster, listener=listener)
    else:
        collection = collect(model, data, options, shard=args.shard, listener=listener, checkpoint=checkpoint)
    save_statistics(output, collection)
    remove_checkpoints(checkpoint)
    console.line()
    console.line(_written_line(output, collection))
    return 0


def _written_line(output: Path, collection: Collection) -> str:
    part = f"; {collection.shards.named(sorted(collection.shards.have))}" if collection.shards else ""
    return (
        f"wrote {output} ({output.stat().st_size:,} bytes): {many(len(collection.samples), 'sample')}, "
        f"{many(len(collection.histograms), 'tensor')}{part}"
    )


def _output(args: argparse.Namespace) -> Path:
    if args.output:
        return Path(args.output)
    stem, shard = Path(args.model).stem, args.shard
    return Path(
        f"{stem}.{shard.index:0{len(str(shard.of))}}-of-{shard.of}.stats" if shard else f"{stem}.stats"
    )


def _check_not_another(output: Path, shard: Shard | None) -> None:
    """Refuses to write a shard over other statistics; over itself, a task that is run again may.

    Raises:
        OptionError: saying which is there.
    """
    from onnx_trtcal import load_statistics

    if shard is None or shard.of == 1 or not output.exists():
        return
    try:
        there = load_statistics(output).shards
    except CalibrationError:
        return
    if there is None or (there.have, there.of) != (frozenset({shard.index}), shard.of):
        held = there.named(sorted(there.have)) if there else "statistics of all the data of a run"
        raise OptionError(
            f"this file holds {held}, and would be overwritten by shard {shard}",
            where=str(output),
            fix=f"give each shard its own file, such as -o {output.stem}.{shard.index}-of-{shard.of}.stats; leaving "
            "out -o does",
        )
