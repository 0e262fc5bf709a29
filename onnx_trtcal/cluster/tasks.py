"""What runs on the machines of a cluster: a shard, a merge, a look around. All of it can be done twice."""

from __future__ import annotations

import contextlib
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.cluster.board import BoardListener
from onnx_trtcal.cluster.delivery import Parcel, unpack_model
from onnx_trtcal.cluster.node import Node, this_node
from onnx_trtcal.counting.collect import collect_for
from onnx_trtcal.data.loader_script import is_loader
from onnx_trtcal.data.remote import is_url
from onnx_trtcal.data.shard import Shard, Shards
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.stats.store import dumps, loads

if TYPE_CHECKING:
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.options import Options

__all__ = ["Failure", "Job", "Outcome", "look_around", "merge_parts", "run_shard"]


@dataclass(frozen=True)
class Job:
    """What all tasks of a run have in common.

    Attributes:
        data: paths and URLs, absolute.
        options: how to collect.
        of: into how many shards the data is split.
        folder: the working directory of the run, which lists and loader scripts may be relative to.
    """

    data: tuple[str, ...]
    options: Options
    of: int
    folder: str


@dataclass(frozen=True)
class Failure:
    """An error of the package's own, as it travels."""

    kind: type[CalibrationError]
    what: str
    details: tuple[str, ...]
    where: str
    fix: str

    @classmethod
    def of(cls, error: CalibrationError) -> Failure:
        """What an error says."""
        return cls(type(error), error.what, error.details, error.where, error.fix)

    def error(self, node: str) -> CalibrationError:
        """The error again, with the machine that it is of."""
        where = f"{self.where}, on machine {node}" if self.where else f"machine {node}"
        return self.kind(self.what, details=self.details, where=where, fix=self.fix)


@dataclass(frozen=True)
class Outcome:
    """What a task came to.

    Attributes:
        node: where it ran.
        failure: why it did not do its work; None where it did.
        shards: of a shard, which it is, and of which data.
    """

    node: Node
    failure: Failure | None = None
    shards: Shards | None = None


def run_shard(job: Job, parcel: Parcel, index: int, board: Any) -> tuple[Outcome, bytes]:
    """Collects one shard.

    Args:
        job: the run.
        parcel: the model.
        index: number of the shard, from 1.
        board: the actor that gathers progress.

    Returns:
        What came of it, and the statistics as the bytes of their file; empty after a failure.
    """
    node = this_node()
    listener = BoardListener(board, index, node.name)

    def opened(source: Source) -> None:
        board.tell_total.remote(source.whole_count)

    data: Any = job.data[0] if len(job.data) == 1 else list(job.data)
    try:
        model = unpack_model(parcel)
        with contextlib.chdir(job.folder if Path(job.folder).is_dir() else "."):
            collection = collect_for(model, data, job.options, listener, Shard(index, job.of), opened=opened)
    except CalibrationError as error:
        return Outcome(node, Failure.of(error)), b""
    return Outcome(node, shards=collection.shards), dumps(collection)


def merge_parts(*parts: bytes) -> bytes:
    """The statistics of some shards added up, as the bytes of their file."""
    total = loads(parts[0])
    for part in parts[1:]:
        total.merge(loads(part))
    return dumps(total)


def look_around(job: Job) -> Outcome:
    """What this machine is, and whether it sees the data."""
    node = this_node()
    for text in job.data:
        path = Path(text.rpartition(":")[0] if is_loader(text) and not text.endswith(".py") else text)
        if not is_url(text) and not path.exists() and not glob.has_magic(text):
            failure = Failure(
                CalibrationError,
                "the data is not there on every machine of the cluster",
                (),
                text,
                "put it into a folder that all machines share under the same path, or give a URL such as s3://…",
            )
            return Outcome(node, failure)
    return Outcome(node)
