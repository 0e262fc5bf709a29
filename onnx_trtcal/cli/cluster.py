"""Flags that spread a run over a Ray cluster, the same in every verb that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    import argparse

    from onnx_trtcal.cluster.options import ClusterOptions

__all__ = ["add_cluster", "cluster_from"]


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    group = parser.add_argument_group("many machines")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="collect on the Ray cluster at HOST:PORT, on the one that this machine is part of (auto), or on one of "
        "this machine alone (local); data are paths that all machines see, or URLs (extra `ray`)",
    )
    group.add_argument(
        "--shards",
        metavar="N",
        type=int,
        help="with --ray, into how many shards the data is split (default: four for each task that the cluster has "
        "room for at a time)",
    )


def cluster_from(args: argparse.Namespace) -> ClusterOptions | None:
    """What the flags say; None where the run stays on this machine.

    Raises:
        OptionError: for --shards without --ray, or a value that means nothing.
    """
    if args.ray is None:
        if args.shards is not None:
            raise OptionError(
                "--shards goes with --ray",
                fix="give --ray ADDRESS, or collect each shard by itself: onnx-trtcal collect MODEL DATA --shard I/N",
            )
        return None
    from onnx_trtcal.cluster.options import ClusterOptions

    return ClusterOptions(args.ray, args.shards)
