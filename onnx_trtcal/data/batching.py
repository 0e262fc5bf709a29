"""Samples gathered into batches, prefetched while the model runs."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.data.prefetch import prefetch
from onnx_trtcal.data.task_runs import in_runs
from onnx_trtcal.errors import ModelError, StatisticsError
from onnx_trtcal.support.cores import cores
from onnx_trtcal.support.memory import available_memory, free_swap
from onnx_trtcal.support.wording import size as size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Generator, Iterator, Mapping, Sequence

    from onnx_trtcal.data.images.geometry import Geometry
    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.data.samples import Sample, SampleTask
    from onnx_trtcal.data.sources import Source

__all__ = ["Batch", "OtherSamplesError", "batch_of", "batches", "sample_hash"]

_MOST_THREADS = 8
_REMOTE_THREADS = 16  # which wait for a network most of the time
_LEAST_SMALL = 32  # small samples to prefetch, however small the batches
_RUNS = 4  # that small samples to prefetch are made in
_LARGE = 1 << 28  # bytes; what is smaller is there


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
        rows: rows along the item axis, `count` of them real and the rest repeating the last sample to fill a
            fixed batch; equal to `count` where nothing is padded, as in every feed given verbatim.
        feeding: how the samples were put together.
        geometry: per sample, what `Sample.geometry` says.
        paths: per sample, its name with the path that the data was given by.
    """

    feeds: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    count: int
    rows: int
    feeding: Feeding
    geometry: tuple[Mapping[str, Geometry], ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def padded(self) -> bool:
        """Whether rows from `count` on repeat the last sample."""
        return self.rows > self.count

    def pieces(self, most: int | None) -> Iterator[Batch]:
        """The batch in as few batches of about equal size as keep to `most` samples, in the order of the samples.

        Args:
            most: samples in each; None for any number. A batch that the model or the data dictates stays whole.
        """
        if most is None or self.count <= most or self.feeding.verbatim or self.feeding.batch is not None:
            yield self
            return
        parts = -(-self.count // most)
        for part in range(parts):
            yield self._part(slice(self.count * part // parts, self.count * (part + 1) // parts))

    def alone(self, place: int) -> Batch:
        """One of the samples; it fills a fixed batch up."""
        return self if self.count == 1 else self._part(slice(place, place + 1), self.feeding.batch)

    def _part(self, samples: slice, filled: int | None = None) -> Batch:
        """Consecutive samples; the first of them repeated until there are so many rows, where that is said."""
        count = samples.stop - samples.start
        rows = range(samples.start, samples.stop) if filled is None else [samples.start] * filled
        return replace(
            self,
            feeds={name: _rows(array, self.feeding.axes[name], rows) for name, array in self.feeds.items()},
            names=self.names[samples],
            hashes=self.hashes[samples],
            count=count,
            rows=len(rows),
            geometry=self.geometry[samples],
            paths=self.paths[samples],
        )


def batches(
    source: Source,
    batch_size: int,
    threads: int | None = None,
    counted: Collection[tuple[str, str]] = (),
    ends: Container[int] = (),
    skipped: Callable[[Batch], None] | None = None,
) -> Generator[Batch, None, None]:
    """Batches of consecutive samples.

    A fixed batch axis in the model wins over `batch_size`, and short batches are then padded with their last
    sample; otherwise they stay short. A sample of another shape starts a new batch, and so does one with other
    values of an input that the samples of a batch share. A model fed verbatim gets one sample per batch, its
    arrays untouched.

    Up to two batches are prefetched in background threads, which end when the iterator is closed or exhausted.

    Args:
        source: the samples, and how they are fed.
        batch_size: samples per batch, 1 or more.
        threads: decoding threads; default: one per core, at most 8. Remote data is read by 16 at least.
        counted: (name, hash) of samples to leave out: those that an earlier run of the same data has counted,
            which are its first ones.
        ends: sample counts, those left out among them, at which a batch ends even if it falls short, unless
            that would change what its rows are.
        skipped: receives each sample that is left out, as a batch of one.

    Raises:
        OptionError: when `batch_size` is not a positive number.
        DataError: from the source, in its place in the order.
        OtherSamplesError: before the first batch, when the data does not begin with the counted samples.
    """
    size = source.feeding.batch_size(batch_size)
    workers = min(threads or cores(), _MOST_THREADS)
    if source.remote:
        workers = max(workers, _REMOTE_THREADS)
    return _batches(source, size, workers, counted, () if source.feeding.full_only else ends, skipped)


def sample_hash(sample: Sample) -> str:
    """SHA-256, in hexadecimal, of a sample's content, whatever it is called and however it is batched.

    Over the inputs sorted by name: the name, the element type, the shape, the values in C order.
    """
    digest = hashlib.sha256()
    for name, array in sorted(sample.arrays.items()):
        digest.update(_hashed_kind(name, array.dtype, array.shape))
        if array.dtype == object:
            digest.update("\0".join(map(str, array.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@lru_cache
def _hashed_kind(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    return f"{name}\0{dtype.name}\0{shape}\0".encode()


def _batches(
    source: Source,
    size: int,
    threads: int,
    counted: Collection[tuple[str, str]],
    ends: Container[int],
    skipped: Callable[[Batch], None] | None,
) -> Generator[Batch, None, None]:
    feeding = source.feeding
    waiting: list[tuple[Sample, str]] = []
    missing = set(counted)
    with closing(_prefetched(source, max(2 * size, threads), threads)) as results:
        for number, (sample, digest) in enumerate(results, 1):
            if missing:
                _discard_counted(missing, sample.name, digest)
                if skipped:
                    skipped(batch_of([(sample, digest)], feeding))
                continue
            if waiting and not _alike(waiting[0][0], sample, feeding):
                yield batch_of(waiting, feeding)
                waiting = []
            waiting.append((sample, digest))
            if len(waiting) == size or number in ends:
                yield batch_of(waiting, feeding)
                waiting = []
        if missing:
            raise OtherSamplesError(f"it counts {min(missing)[0]!r} and more, which the data does not hold")
        if waiting:
            yield batch_of(waiting, feeding)


def _discard_counted(missing: set[tuple[str, str]], name: str, digest: str) -> None:
    if (name, digest) not in missing:
        raise OtherSamplesError(
            f"it is of other data, or of data in another order: it does not count sample {name!r} as it is now"
        )
    missing.remove((name, digest))


def _prefetched(source: Source, depth: int, threads: int) -> Generator[tuple[Sample, str], None, None]:
    """The samples with their hashes, made by `threads` threads; at most about `depth` are there at a time.

    Small samples are made several at a time. Only of data that is at hand: an iterator may be waiting for the next one
    for long, and a network always is.
    """
    tasks = source.tasks()
    runs, most = depth, 1
    if source.countable and not source.remote:
        first = next(tasks, None)
        if first is None:
            return
        tasks = chain((first,), tasks)
        if first.small:
            runs = min(depth, _RUNS)
            most = max(depth, _LEAST_SMALL) // runs
    together = in_runs(tasks, most, _hashed, attrgetter("small"))
    del tasks  # so that a user's iterator is closed by the thread that advances it, as `together` is
    with closing(prefetch(together, runs, threads)) as made:
        for run in made:
            yield from run.results
            if run.error:
                raise run.error


def _hashed(task: SampleTask) -> tuple[Sample, str]:
    sample = task()
    return sample, sample_hash(sample)


def _alike(one: Sample, other: Sample, feeding: Feeding) -> bool:
    """Whether two samples can be run together: equal shapes, and equal values where one array serves both."""
    for name, array in one.arrays.items():
        theirs = other.arrays[name]
        if array.shape != theirs.shape:
            return False
        if feeding.axes[name] is None and not feeding.verbatim and not (array == theirs).all():
            return False
    return True


def batch_of(hashed: Sequence[tuple[Sample, str]], feeding: Feeding) -> Batch:
    """Samples put together as one feed.

    Args:
        hashed: samples that can be run together, with their hashes.
        feeding: along which axes.
    """
    samples = [sample for sample, _ in hashed]
    count = len(samples)
    rows = count if feeding.verbatim else feeding.batch or count
    _check_room(samples[0], rows, feeding)
    feeds = {}
    for name, array in samples[0].arrays.items():
        axis = feeding.axes[name]
        if axis is None:
            feeds[name] = array
        elif rows == 1:
            feeds[name] = np.expand_dims(array, axis)
        else:
            feeds[name] = _stacked([sample.arrays[name] for sample in samples], rows, axis)
    names, digests = tuple(sample.name for sample in samples), tuple(digest for _, digest in hashed)
    geometry = tuple(sample.geometry for sample in samples)
    paths = tuple(sample.path or sample.name for sample in samples)
    return Batch(feeds, names, digests, count, rows, feeding, geometry, paths)


def _rows(array: np.ndarray, axis: int | None, rows: Sequence[int]) -> np.ndarray:
    """Items of a feed along an axis; the whole feed where it is the same for all."""
    return array if axis is None else np.take(array, rows, axis)


def _stacked(arrays: Sequence[np.ndarray], rows: int, axis: int) -> np.ndarray:
    """Arrays of one shape side by side along a new axis, the last one repeated until there are `rows`."""
    if rows == len(arrays):
        return np.stack(arrays, axis)
    shape = arrays[0].shape
    stack = np.empty((*shape[:axis], rows, *shape[axis:]), arrays[0].dtype)
    along = np.moveaxis(stack, axis, 0)
    for row, array in enumerate(arrays):
        along[row] = array
    along[len(arrays) :] = arrays[-1]
    return stack


def _check_room(sample: Sample, rows: int, feeding: Feeding) -> None:
    """Refuses to fill up a fixed batch that no memory can hold."""
    needed = rows * sum(
        array.nbytes for name, array in sample.arrays.items() if feeding.axes[name] is not None
    )
    if feeding.batch is None or needed < _LARGE:
        return
    free = available_memory()
    if free is not None and needed > free + free_swap():
        raise ModelError(
            f"the model takes batches of {rows} and nothing else, which are {size_text(needed)} of this data, and "
            f"{size_text(free)} of memory are free",
            where=f"sample {sample.name}",
            fix="export the model with a smaller batch, or one that is not fixed",
        )
