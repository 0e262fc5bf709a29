"""The samples that a search runs on: the same ones whatever the order and the batching of the data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.layout import feeding_of

if TYPE_CHECKING:
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["SampleKeeper", "read_again"]

Feeds = Mapping[str, np.ndarray]
_MOST_BYTES = 256 << 20


class SampleKeeper:
    """Keeps the samples with the smallest content hashes of a stream as it goes by.

    Args:
        inputs: the model's inputs.
        most: so many samples at most.
        most_bytes: stop before the kept samples, by rising hash, take more than this; one is always kept.
    """

    def __init__(self, inputs: Sequence[InputSpec], most: int, most_bytes: int = _MOST_BYTES) -> None:
        self._feeding = feeding_of(inputs)
        self._most = most
        self._most_bytes = most_bytes
        self._samples: dict[str, Feeds] = {}
        self._below: str | None = None  # no hash from here on is kept

    def offer(self, batch: Batch) -> None:
        """Keeps the samples of a batch whose hashes are among the smallest so far."""
        for row, digest in enumerate(batch.hashes):
            if digest not in self._samples and (self._below is None or digest < self._below):
                self._samples[digest] = self._feeds(batch, row)
                self._shrink()

    def feeds(self, counted: Container[str] | None = None) -> list[Feeds]:
        """One feed per kept sample, by rising hash; a fixed batch is filled up with its one sample.

        Args:
            counted: give only samples of these hashes; None gives all.
        """
        chosen = sorted(self._samples)
        return [self._samples[digest] for digest in chosen if counted is None or digest in counted]

    def _feeds(self, batch: Batch, row: int) -> Feeds:
        if self._feeding.verbatim:
            return {name: array.copy() for name, array in batch.feeds.items()}
        rows = self._feeding.batch or 1
        return {name: np.repeat(array[row : row + 1], rows, axis=0) for name, array in batch.feeds.items()}

    def _shrink(self) -> None:
        size = 0
        for place, digest in enumerate(sorted(self._samples)):
            size += sum(array.nbytes for array in self._samples[digest].values())
            if place and (place >= self._most or size > self._most_bytes):
                self._below = digest
                self._samples = {name: kept for name, kept in self._samples.items() if name < digest}
                return


def read_again(source: Source, inputs: Sequence[InputSpec], counted: Iterable[str], most: int) -> list[Feeds]:
    """The same samples from data that can be read again: for a run that was resumed from a checkpoint.

    Args:
        source: the data.
        inputs: the model's inputs.
        counted: hashes of the samples that were calibrated with; others are left out.
        most: so many samples at most.
    """
    known = frozenset(counted)
    keeper = SampleKeeper(inputs, most)
    for batch in batches(source, inputs, 1):
        if known.issuperset(batch.hashes):
            keeper.offer(batch)
    return keeper.feeds()
