"""How a run is spread over a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_trtcal.data.shard import MOST_SHARDS
from onnx_trtcal.errors import OptionError
from onnx_trtcal.options import check_fields

__all__ = ["ClusterOptions"]


@dataclass(frozen=True)
class ClusterOptions:
    """Where the tasks of a run go, and how many there are.

        >>> from onnx_trtcal import ClusterOptions
        >>> ClusterOptions("10.0.0.1:6379", shards=64).retries
        3

    Attributes:
        address: of a Ray cluster, as `ray.init` takes it: `HOST:PORT` or `ray://HOST:10001`; "auto" for the one that
            this machine is part of, "local" for one of this machine alone that ends with the run.
        shards: into how many the data is split; None for four for each task that the cluster has room for at a time.
        retries: how often a shard whose worker or node is lost is collected again.
    """

    address: str = "auto"
    shards: int | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.address:
            raise OptionError("the address of the Ray cluster is empty", fix="give HOST:PORT, auto or local")
        if self.shards is not None and not 1 <= self.shards <= MOST_SHARDS:
            raise OptionError(f"shards is {self.shards}, wanted 1 to {MOST_SHARDS:,}")
        if self.retries < 0:
            raise OptionError(f"retries is {self.retries}, wanted 0 or more")
