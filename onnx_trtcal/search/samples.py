"""The samples that a search, or a look at the end result, runs on: the same whatever the data's order and batching."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.batching import batches
from onnx_trtcal.support.channel_blocks import ChannelBlocks
from onnx_trtcal.support.device_array import DeviceArray

if TYPE_CHECKING:
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.support.device_array import Activation

__all__ = ["SampleKeeper", "read_again"]

Feeds = Mapping[str, np.ndarray]
_MOST_BYTES = 256 << 20
_MOST_RESULT_BYTES = 4 << 20  # of one sample


class SampleKeeper:
    """Keeps the samples with the smallest content hashes of a stream as it goes by.

    Args:
        most: so many samples at most; 0 keeps none.
        most_bytes: stop before the kept samples, by rising hash, take more than this; one is always kept.
        results: observed tensors whose values are kept as well, as far as they are at hand, small, and together within
            `most_bytes`. Each row of their axis 0 is computed from that row of the inputs alone.
    """

    def __init__(self, most: int, most_bytes: int = _MOST_BYTES, results: Sequence[str] = ()) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._wanted = results
        self._samples: dict[str, Feeds] = {}
        self._noted: dict[str, Feeds] = {}  # of samples that are still to be offered
        self._results: dict[str, Feeds] = {}
        self._below: str | None = None  # no hash from here on is kept

    def offer(self, batch: Batch) -> None:
        """Keeps the samples of a batch whose hashes are among the smallest so far."""
        for row, digest in enumerate(batch.hashes):
            results = self._noted.pop(digest, None)
            if self._wants(digest):
                self._samples[digest] = _feeds(batch, row)
                if results is not None and _nbytes([*self._results.values(), results]) <= self._most_bytes:
                    self._results[digest] = results
                self._shrink()

    def note(self, batch: Batch, arrays: Mapping[str, Activation]) -> None:
        """Copies what the model makes of samples that may be kept, before they are offered; called by any thread.

        Args:
            batch: the samples.
            arrays: observed tensor -> the values of the batch.
        """
        found = [arrays[name] for name in self._wanted if name in arrays]
        if not found or len(found) < len(self._wanted) or not _by_sample(batch, found):
            return
        if sum(array.nbytes for array in found) > _MOST_RESULT_BYTES * batch.count:
            return
        for row, digest in enumerate(batch.hashes):
            if self._wants(digest):
                rows = slice(None) if batch.count == 1 else slice(row, row + 1)
                self._noted[digest] = {
                    name: _copied(array, rows) for name, array in zip(self._wanted, found, strict=True)
                }

    def feeds(self, counted: Container[str] | None = None) -> list[Feeds]:
        """One feed per kept sample, by rising hash; a fixed batch is filled up with its one sample.

        Args:
            counted: give only samples of these hashes; None gives all.
        """
        return [self._samples[digest] for digest in self._chosen(counted)]

    def results(self, counted: Container[str] | None = None) -> list[Feeds]:
        """For each of `feeds`, the values of the tensors that were wanted; empty where they are not at hand."""
        return [self._results.get(digest, {}) for digest in self._chosen(counted)]

    def kept(self) -> dict[str, Feeds]:
        """Content hash of each kept sample -> its feed, by rising hash."""
        return {digest: self._samples[digest] for digest in self._chosen(None)}

    def _chosen(self, counted: Container[str] | None) -> list[str]:
        return [digest for digest in sorted(self._samples) if counted is None or digest in counted]

    def _wants(self, digest: str) -> bool:
        fits = self._below is None or digest < self._below
        return self._most > 0 and fits and digest not in self._samples

    def _shrink(self) -> None:
        size = 0
        for place, digest in enumerate(sorted(self._samples)):
            size += sum(array.nbytes for array in self._samples[digest].values())
            if place and (place >= self._most or size > self._most_bytes):
                self._below = digest
                self._samples = {name: kept for name, kept in self._samples.items() if name < digest}
                self._results = {name: kept for name, kept in self._results.items() if name < digest}
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


def _by_sample(batch: Batch, arrays: Iterable[Activation]) -> bool:
    """Whether the rows of arrays that hold rows are what the model makes of `_feeds`, in the host's memory."""
    feeding = batch.feeding
    if any(isinstance(array, DeviceArray) for array in arrays) or feeding.batch not in (None, 1):
        return False
    return batch.count == 1 or all(axis == 0 for axis in feeding.axes.values())


def _nbytes(results: Iterable[Feeds]) -> int:
    return sum(array.nbytes for values in results for array in values.values())


def _copied(array: Activation, rows: slice) -> np.ndarray:
    if isinstance(array, ChannelBlocks):
        return array[rows].plain()
    return np.array(array[rows] if isinstance(array, np.ndarray) and array.ndim else array)


def _feeds(batch: Batch, row: int) -> Feeds:
    rows = batch.feeding.batch or 1
    found = {}
    for name, array in batch.feeds.items():
        axis = batch.feeding.axes[name]
        found[name] = array.copy() if axis is None else np.repeat(array.take([row], axis), rows, axis)
    return found
