"""collect_on_cluster() and calibrate_on_cluster(): one run, its shards spread over the machines of a Ray cluster.

Every shard is a task that can be done twice, so that a worker or a machine that is lost costs the shards that it had.
Their statistics stay in the cluster, where tasks add them up as a tree; what arrives here is the sum. Since shards add
up to one run, the result has the bytes of a run on one machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnx_trtcal.cluster.board import Board
from onnx_trtcal.cluster.delivery import pack_model, remove_model
from onnx_trtcal.cluster.meter import Meter
from onnx_trtcal.cluster.node import Node, check_alike, this_node
from onnx_trtcal.cluster.options import ClusterOptions
from onnx_trtcal.cluster.session import connected, room_for
from onnx_trtcal.cluster.tasks import Job, Outcome, look_around, merge_parts, run_shard
from onnx_trtcal.cluster.tree import MergeTree
from onnx_trtcal.counting.collect import check_shardable
from onnx_trtcal.data.paths import paths_of
from onnx_trtcal.data.remote import data_path, is_url, shown_path
from onnx_trtcal.errors import CalibrationError, DataError, OptionError
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.solving import from_statistics
from onnx_trtcal.stats.store import loads
from onnx_trtcal.support.progress import LoggingListener
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.cluster.delivery import Parcel
    from onnx_trtcal.cluster.session import Room
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["calibrate_on_cluster", "collect_on_cluster"]

_SHARDS_PER_TASK = 4
_MOST_BY_DEFAULT = 4096
_SECONDS = 0.5  # between two looks at the board
_PATIENCE = 60.0  # seconds for what each machine says of itself, and 5 to clean up
_READY = 64  # shards taken in at a time


def calibrate_on_cluster(
    model: str | Path | onnx.ModelProto,
    data: str | Path | Sequence[str | Path],
    options: Options = Options(),
    cluster: ClusterOptions = ClusterOptions(),
    *,
    listener: Listener | None = None,
) -> Calibration:
    """Calibrates a model on a Ray cluster: what `onnx-trtcal MODEL DATA --ray ADDRESS` does, without writing a file.

        >>> from onnx_trtcal import ClusterOptions, calibrate_on_cluster
        >>> cluster = ClusterOptions("10.0.0.1:6379", shards=256)
        >>> calibration = calibrate_on_cluster(
        ...     "model.onnx", "s3://bucket/images", cluster=cluster
        ... )  # doctest: +SKIP

    Args:
        model: path of an ONNX file on this machine, or a model in memory; it is sent to the others.
        data: paths that every machine sees, or URLs.
        options: how; a method must solve from statistics alone, as `entropy` does.
        cluster: where, and into how many shards.
        listener: receives the messages of all shards, each once, warnings and progress.

    Raises:
        OptionError: for a method that reads data to solve.
        CalibrationError: as `collect_on_cluster`.
    """
    listener = listener or LoggingListener()
    check_shardable(options)
    _check_methods(model, options)
    collection = collect_on_cluster(model, data, options, cluster, listener=listener)
    return from_statistics(model, collection, options, _Warnings(listener))


def collect_on_cluster(
    model: str | Path | onnx.ModelProto,
    data: str | Path | Sequence[str | Path],
    options: Options = Options(),
    cluster: ClusterOptions = ClusterOptions(),
    *,
    listener: Listener | None = None,
) -> Collection:
    """Collects statistics on a Ray cluster: those of one run on one machine.

    This package has to be installed on every machine of the cluster, in the same version.

        >>> from onnx_trtcal import ClusterOptions, collect_on_cluster
        >>> cluster = ClusterOptions("auto", shards=8, retries=1)
        >>> statistics = collect_on_cluster("model.onnx", "/mnt/images", cluster=cluster)  # doctest: +SKIP

    Args:
        model: path of an ONNX file on this machine, or a model in memory; it is sent to the others.
        data: paths that every machine sees, or URLs.
        options: how; `threads` are those of one task, whose samples are counted next to those of others.
        cluster: where, and into how many shards.
        listener: receives the messages of all shards, each once, warnings and progress.

    Raises:
        OptionError: when the options and shards do not go together.
        DataError: when a machine does not see the data, or cannot read it; it is named.
        CalibrationError: when Ray is not installed, the cluster cannot be reached, a machine has another version, or
            a shard was lost more often than it may be tried again.
    """
    listener = listener or LoggingListener()
    check_shardable(options)
    paths = _absolute(data)
    parcel = pack_model(model)
    with connected(cluster.address) as ray:
        room = room_for(ray, options)
        of = cluster.shards or max(1, min(_SHARDS_PER_TASK * room.tasks, _MOST_BY_DEFAULT))
        job = Job(paths, replace(options, threads=room.threads), of, os.getcwd())
        gpus = ", a GPU" if room.gpus else ""
        listener.say(
            f"Ray cluster of {many(len(room.nodes), 'machine')}: {many(of, 'shard')}, up to {room.tasks} at a time "
            f"with {many(room.threads, 'thread')}{gpus} each"
        )
        run = _Run(ray, job, room, cluster, listener)
        try:
            run.look_around()
            return run.collect(parcel)
        finally:
            run.clean_up(parcel.key)


class _Run:
    """One run on a cluster.

    Args:
        ray: the module, connected.
        job: what is run.
        room: what a task takes.
        cluster: how often a shard may be tried.
        listener: receives what there is to say.
    """

    def __init__(self, ray: Any, job: Job, room: Room, cluster: ClusterOptions, listener: Listener) -> None:
        self._ray = ray
        self._job = job
        self._room = room
        self._retries = cluster.retries
        self._listener = listener
        self._nodes: dict[str, Node] = {}
        self._waiting: dict[Any, tuple[int, Any]] = {}
        self._seen: Outcome | None = None

    def look_around(self) -> None:
        """Asks every machine what it is, and whether it sees the data.

        Raises:
            CalibrationError: naming a machine that cannot take part.
        """
        asked = self._on_every_node(look_around, self._job)
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=_PATIENCE)
        self._meet([self._outcome(each, "a look at the machines") for each in ready])

    def collect(self, parcel: Parcel) -> Collection:
        """The statistics of all shards, added up."""
        ray, job = self._ray, self._job
        board = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        shard = ray.remote(
            num_cpus=self._room.threads,
            num_gpus=self._room.gpus,
            num_returns=2,
            max_retries=self._retries,
            scheduling_strategy="SPREAD",
        )(run_shard)
        merge = ray.remote(num_cpus=1, max_retries=self._retries)(merge_parts)
        sent = ray.put(job), ray.put(parcel)
        tree = MergeTree(merge.remote)
        tries = dict.fromkeys(range(1, job.of + 1), 0)

        def start(index: int) -> None:
            outcome, statistics = shard.remote(*sent, index, board)
            self._waiting[outcome] = (index, statistics)

        with Meter(self._listener, job.of) as meter:
            for index in tries:
                start(index)
            while self._waiting:
                most = min(len(self._waiting), _READY)
                ready, _ = ray.wait(list(self._waiting), num_returns=most, timeout=_SECONDS)
                with suppress(ray.exceptions.RayError):  # the machine of the board may be lost, too
                    meter.update(ray.get(board.standing.remote(), timeout=_PATIENCE))
                for each in ready:
                    index, statistics = self._waiting.pop(each)
                    outcome = self._outcome(each, f"shard {index}/{job.of}")
                    if outcome.failure is None:
                        self._check_data(outcome)
                        tree.add(statistics)
                    elif tries[index] < self._retries and any(map(is_url, job.data)):
                        # A store may answer at another time.
                        tries[index] += 1
                        start(index)
                    else:
                        raise outcome.failure.error(outcome.node.name)
                    self._meet([outcome])
            with suppress(ray.exceptions.RayError):
                meter.update(ray.get(board.standing.remote(), timeout=_PATIENCE))
        return loads(self._get(tree.total(), "the merge of the shards"))

    def clean_up(self, key: str) -> None:
        """Ends what still runs, and removes the model from the machines."""
        for outcome in self._waiting:
            with suppress(Exception):
                self._ray.cancel(outcome, force=True)
        with suppress(Exception):
            asked = self._on_every_node(remove_model, key)
            self._ray.wait(asked, num_returns=len(asked), timeout=5)

    def _on_every_node(self, function: Any, argument: Any) -> list[Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = self._ray.remote(num_cpus=0, max_retries=1)(function)
        places = (NodeAffinitySchedulingStrategy(node, soft=False) for node in self._room.nodes)
        return [task.options(scheduling_strategy=place).remote(argument) for place in places]

    def _meet(self, outcomes: Sequence[Outcome]) -> None:
        """Takes note of machines, and says where they differ.

        Raises:
            CalibrationError: when one cannot take part.
        """
        for outcome in outcomes:
            if outcome.failure:
                raise outcome.failure.error(outcome.node.name)
        new = {each.node.name: each.node for each in outcomes if each.node.name not in self._nodes}
        if new:
            self._nodes |= new
            for line in check_alike(this_node(), self._nodes.values()):
                self._listener.warn(line)

    def _check_data(self, outcome: Outcome) -> None:
        """Checks that a shard is one of the same data as those before.

        Raises:
            DataError: naming two machines that see different files.
        """
        first = self._seen = self._seen or outcome
        if first.shards and outcome.shards and not first.shards.is_of(outcome.shards):
            raise DataError(
                f"machines {first.node.name} and {outcome.node.name} do not see the same files",
                where=", ".join(map(shown_path, self._job.data[:3])),
                fix="put the data into a folder that all machines share, and leave it as it is during the run",
            )

    def _outcome(self, reference: Any, what: str) -> Outcome:
        found: Outcome = self._get(reference, what)
        return found

    def _get(self, reference: Any, what: str) -> Any:
        """What a task came to.

        Raises:
            CalibrationError: when it failed, or was lost too often.
        """
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, CalibrationError):
                raise cause from error
            if isinstance(cause, ImportError) or "No module named" in str(error):
                raise CalibrationError(
                    f"a machine of the cluster cannot run onnx_trtcal: {_last_line(error)}",
                    fix="install onnx_trtcal with the same extras on every machine of the cluster",
                ) from error
            raise CalibrationError(
                f"{what} failed: {_last_line(error)}", fix="look at Ray's logs of it"
            ) from error
        except exceptions.RayError as error:
            raise CalibrationError(
                f"{what} was lost, and tried again {self._retries} times in vain: {_last_line(error)}",
                fix="look at Ray's logs; where memory ran out, --threads or --batch-size 1 takes less",
            ) from error


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__


def _absolute(data: Any) -> tuple[str, ...]:
    """The data as every machine finds it: tasks run in folders of their own."""
    paths = paths_of(data)
    if not paths:
        raise DataError(
            f"a cluster reads data by its path, and this is {type(data).__name__}",
            fix="give paths that every machine sees, URLs, or loader.py:function",
        )
    return tuple(text if is_url(text) else os.path.abspath(str(data_path(text))) for text in paths)


def _check_methods(model: Any, options: Options) -> None:
    """Refuses methods that read data after it was counted.

    Raises:
        OptionError: naming them.
    """
    methods = prepare(model, options, _Warnings(None)).methods.values()
    names = sorted({method.name for method in methods if method.needs != "histogram"})
    if names:
        raise OptionError(
            f"method {' and '.join(names)} reads the data again, on one machine: a cluster collects statistics only",
            fix="choose one that solves from statistics, such as entropy or mse, or collect on the cluster and "
            "calibrate with that method on a part of the data",
        )


class _Warnings(LoggingListener):
    """A listener for work of which the lines are said elsewhere.

    Args:
        listener: receives the warnings; None where they are said elsewhere, too.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener

    def say(self, text: str) -> None:
        """Drops a line."""

    def warn(self, text: str) -> None:
        """Passes a warning on."""
        if self._listener:
            self._listener.warn(text)
