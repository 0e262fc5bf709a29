"""Counts batches into a collection: one after the other, or by several workers, each into a share of its own."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from onnx_trtcal.data.seen_shapes import SeenShapes, per_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.device_array import Activation

__all__ = ["Tally"]


class Tally:
    """A collection, and what is counted but not in it yet.

    Args:
        collection: what is counted into.
        workers: how many count at a time.
        pool: threads that help a worker that is the only one.

    Attributes:
        collection: as given; it holds all that is counted after `gather`, and at any time where there is one worker.
    """

    def __init__(self, collection: Collection, workers: int, pool: Executor) -> None:
        self.collection = collection
        self._workers = workers
        self._pool = pool
        self._lock = threading.Lock()
        self._shares: list[Collection] = []  # each made when a worker first counts into it
        self._share_out()
        self._admitted: set[tuple[str, str]] = set()
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many samples are admitted, and in no batch that is finished."""
        return self._under_way

    @property
    def apart(self) -> int:
        """How many samples are admitted since the shares were gathered."""
        return len(self._admitted)

    def admit(self, batch: Batch) -> None:
        """Takes note of a batch that is about to be run by one of several workers.

        Raises:
            StatisticsError: when one of its samples is counted already, or is about to be.
        """
        samples = list(zip(batch.names, batch.hashes, strict=True))
        self.collection.check_fresh(samples, self._admitted)
        self._admitted.update(samples)
        self._under_way += batch.count

    def count(
        self, batch: Batch, arrays: Mapping[str, Activation], alone: Callable[[int], Mapping[str, Activation]]
    ) -> None:
        """Counts a batch; called by any worker.

        Args:
            batch: that one.
            arrays: per observed tensor its values.
            alone: those of the sample at a position of the batch, run by itself.
        """
        if self._workers == 1:
            self.collection.add(batch.names, batch.hashes, arrays, self._pool, alone)
            return
        share = self._idle.get()
        try:
            if share is None:
                share = self._new_share()
            share.add(batch.names, batch.hashes, arrays, alone=alone)
        finally:
            self._idle.put(share)

    def finish(self, batch: Batch) -> None:
        """Takes note that a batch is counted, in the order of the data."""
        self._under_way = max(0, self._under_way - batch.count)
        self.collection.see(
            per_sample(
                {
                    name: SeenShapes(each.shape, each.shape, batch.feeding.free_axis(name))
                    for name, each in batch.feeds.items()
                }
            )
        )

    def gather(self) -> None:
        """Brings all that is counted into the collection, while no worker counts."""
        while self._shares:  # one after the other is freed
            self.collection.absorb(self._shares.pop())
        self._share_out()
        self._admitted.clear()

    def _share_out(self) -> None:
        self._idle: queue.LifoQueue[Collection | None] = queue.LifoQueue()
        for _ in range(self._workers):
            self._idle.put(None)

    def _new_share(self) -> Collection:
        with self._lock:
            share = self.collection.share()
            self._shares.append(share)
        return share
