"""The samples that a search runs on: the same ones whatever the order and the batching of the data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.batching import batches

if TYPE_CHECKING:
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source

__all__ = ["SampleKeeper", "read_again"]

Feeds = Mapping[str, np.ndarray]
_MOST_BYTES = 256 << 20


class SampleKeeper:
    """Keeps the samples with the smallest content hashes of a stream as it goes by.

    Args:
        most: so many samples at most; 0 keeps none.
        most_bytes: stop before the kept samples, by rising hash, take more than this; one is always kept.
    """

    def __init__(self, most: int, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._samples: dict[str, Feeds] = {}
        self._below: str | None = None  # no hash from here on is kept

    def offer(self, batch: Batch) -> None:
        """Keeps the samples of a batch whose hashes are among the smallest so far."""
        if not self._most:
            return
        for row, digest in enumerate(batch.hashes):
            if digest not in self._samples and (self._below is None or digest < self._below):
                self._samples[digest] = _feeds(batch, row)
                self._shrink()

    def feeds(self, counted: Container[str] | None = None) -> list[Feeds]:
        """One feed per kept sample, by rising hash; a fixed batch is filled up with its one sample.

        Args:
            counted: give only samples of these hashes; None gives all.
        """
        return [feeds for digest, feeds in self.kept().items() if counted is None or digest in counted]

    def kept(self) -> dict[str, Feeds]:
        """Content hash of each kept sample -> its feed, by rising hash."""
        return {digest: self._samples[digest] for digest in sorted(self._samples)}

    def _shrink(self) -> None:
        size = 0
        for place, digest in enumerate(sorted(self._samples)):
            size += sum(array.nbytes for array in self._samples[digest].values())
            if place and (place >= self._most or size > self._most_bytes):
                self._below = digest
                self._samples = {name: kept for name, kept in self._samples.items() if name < digest}
                return


def read_again(source: Source, counted: Iterable[str], most: int) -> list[Feeds]:
    """The same samples from data that can be read again: for a run that was resumed from a checkpoint.

    Args:
        source: the data, and how it is fed.
        counted: hashes of the samples that were calibrated with; others are left out.
        most: so many samples at most.
    """
    known = frozenset(counted)
    keeper = SampleKeeper(most)
    for batch in batches(source, 1):
        if known.issuperset(batch.hashes):
            keeper.offer(batch)
    return keeper.feeds()


def _feeds(batch: Batch, row: int) -> Feeds:
    rows = batch.feeding.batch or 1
    found = {}
    for name, array in batch.feeds.items():
        axis = batch.feeding.axes[name]
        found[name] = array.copy() if axis is None else np.repeat(array.take([row], axis), rows, axis)
    return found
