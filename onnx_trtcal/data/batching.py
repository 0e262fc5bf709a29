"""Samples gathered into batches, prefetched while the model runs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.layout import Feeding, effective_batch_size, feeding_of
from onnx_trtcal.data.prefetch import prefetch
from onnx_trtcal.data.sources import Source
from onnx_trtcal.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Generator, Iterable, Mapping, Sequence

    from onnx_trtcal.data.samples import Sample
    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["Batch", "OtherSamplesError", "batches", "effective_batch_size", "sample_hash"]

_MOST_THREADS = 8


class OtherSamplesError(StatisticsError):
    """The statistics to resume from were collected over other samples."""


@dataclass(frozen=True)
class Batch:
    """What one run of the model is fed.

    Attributes:
        feeds: an array per input, C-contiguous, of the model's type and rank.
        names: the samples' names.
        hashes: SHA-256 of each sample's content (see `sample_hash`).
        count: real samples.
        rows: rows along the batch axis, `count` of them real and the rest repeating the last sample to fill a
            fixed batch; equal to `count` where nothing is padded, as in every feed given verbatim.
    """

    feeds: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    count: int
    rows: int

    @property
    def padded(self) -> bool:
        """Whether rows from `count` on repeat the last sample."""
        return self.rows > self.count


def batches(
    source: Source | Iterable[Sample],
    inputs: Sequence[InputSpec],
    batch_size: int,
    threads: int | None = None,
    counted: Collection[tuple[str, str]] = (),
    ends: Container[int] = (),
    skipped: Callable[[Sample], None] | None = None,
) -> Generator[Batch, None, None]:
    """Batches of consecutive samples.

    A fixed batch axis in the model wins over `batch_size`, and short batches are then padded with their last
    sample; otherwise they stay short. A sample of another shape starts a new batch. A model fed verbatim gets one
    sample per batch, its arrays untouched.

    Up to two batches are prefetched in background threads, which end when the iterator is closed or exhausted.

    Args:
        source: the samples.
        inputs: the model's inputs.
        batch_size: samples per batch, 1 or more.
        threads: decoding threads; default: one per core, at most 8.
        counted: (name, hash) of samples to leave out: those that an earlier run of the same data has counted,
            which are its first ones.
        ends: sample counts, those left out among them, at which a batch ends even if it falls short.
        skipped: receives each sample that is left out.

    Raises:
        OptionError: when `batch_size` is not a positive number.
        DataError: from the source, in its place in the order.
        OtherSamplesError: before the first batch, when the data does not begin with the counted samples.
    """
    size = effective_batch_size(inputs, batch_size)
    workers = min(threads or os.cpu_count() or 1, _MOST_THREADS)
    return _batches(source, feeding_of(inputs), size, workers, counted, ends, skipped)


def sample_hash(sample: Sample) -> str:
    """SHA-256, in hexadecimal, of a sample's content, whatever it is called and however it is batched.

    Over the inputs sorted by name: the name, the element type, the shape, the values in C order.
    """
    digest = hashlib.sha256()
    for name, array in sorted(sample.arrays.items()):
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        if array.dtype == object:
            digest.update("\0".join(map(str, array.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _batches(
    source: Source | Iterable[Sample],
    feeding: Feeding,
    size: int,
    threads: int,
    counted: Collection[tuple[str, str]],
    ends: Container[int],
    skipped: Callable[[Sample], None] | None,
) -> Generator[Batch, None, None]:
    tasks = source.tasks() if isinstance(source, Source) else (partial(_loaded, sample) for sample in source)
    hashed = (partial(_hashed, task) for task in tasks)
    waiting: list[tuple[Sample, str]] = []
    missing = set(counted)
    results = prefetch(hashed, max(2 * size, threads), threads)
    try:
        for number, (sample, digest) in enumerate(results, 1):
            if missing:
                _discard_counted(missing, sample.name, digest)
                if skipped:
                    skipped(sample)
                continue
            if waiting and _shapes(waiting[0][0]) != _shapes(sample):
                yield _batch(waiting, feeding)
                waiting = []
            waiting.append((sample, digest))
            if len(waiting) == size or number in ends:
                yield _batch(waiting, feeding)
                waiting = []
        if missing:
            raise OtherSamplesError(f"it counts {min(missing)[0]!r} and more, which the data does not hold")
        if waiting:
            yield _batch(waiting, feeding)
    finally:
        results.close()


def _discard_counted(missing: set[tuple[str, str]], name: str, digest: str) -> None:
    if (name, digest) not in missing:
        raise OtherSamplesError(
            f"it is of other data, or of data in another order: it does not count sample {name!r} as it is now"
        )
    missing.remove((name, digest))


def _loaded(sample: Sample) -> Sample:
    return sample


def _hashed(task: Callable[[], Sample]) -> tuple[Sample, str]:
    sample = task()
    return sample, sample_hash(sample)


def _shapes(sample: Sample) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in sample.arrays.items()}


def _batch(waiting: Sequence[tuple[Sample, str]], feeding: Feeding) -> Batch:
    samples = [sample for sample, _ in waiting]
    count = len(samples)
    rows = count if feeding.verbatim else feeding.batch or count
    first = samples[0].arrays
    if feeding.verbatim:
        feeds = dict(first)
    elif rows == 1:
        feeds = {name: array[np.newaxis] for name, array in first.items()}
    else:
        filled = samples + [samples[-1]] * (rows - count)
        feeds = {name: np.stack([sample.arrays[name] for sample in filled]) for name in first}
    return Batch(
        feeds, tuple(sample.name for sample in samples), tuple(digest for _, digest in waiting), count, rows
    )
