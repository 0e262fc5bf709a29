"""Counting many tensors at once on a caller's threads, with the result that one thread would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.stats.histogram import Histogram, as_counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    import numpy as np

__all__ = ["add_all"]

PIECE = 1 << 21  # values of a large tensor that one task counts, about 2 ms
TASK = 1 << 18  # values that small tensors gather into one task, so that submitting it costs little


def add_all(
    histograms: Sequence[Histogram], arrays: Sequence[np.ndarray], pool: Executor | None = None
) -> None:
    """Adds each array to the histogram of the same position, as `Histogram.add` does, one batch each.

    Args:
        histograms: distinct histograms; the call owns them until it returns.
        arrays: float arrays of any shape.
        pool: threads to count with, which run no task that waits for this call; None counts in the
            calling thread.

    Raises:
        StatisticsError: when an array is not of floats; nothing is counted then.
    """
    pairs = [(h, as_counted(a, h.rule)) for h, a in zip(histograms, arrays, strict=True)]
    if pool is None:
        for histogram, array in pairs:
            histogram.add(array)
        return
    large = [pair for pair in pairs if pair[1].size > PIECE and pair[0].rule == "stable"]
    small = [pair for pair in pairs if not (pair[1].size > PIECE and pair[0].rule == "stable")]
    # The large ones first: the small ones then fill the gaps at the end.
    splits = [(histogram, _pieces(histogram, array)) for histogram, array in large]
    tasks: list[Callable[[], None]] = [_adding([part]) for _, parts in splits for part in parts]
    tasks += [_adding(group) for group in _groups(small)]
    for future in [pool.submit(task) for task in tasks]:
        future.result()
    for histogram, parts in splits:
        for part, _ in parts:
            histogram.merge(part)


def _adding(pairs: Sequence[tuple[Histogram, np.ndarray]]) -> Callable[[], None]:
    def task() -> None:
        for histogram, array in pairs:
            histogram.add(array)

    return task


def _pieces(histogram: Histogram, array: np.ndarray) -> list[tuple[Histogram, np.ndarray]]:
    flat = array.ravel(order="K")
    pieces = []
    for begin in range(0, flat.size, PIECE):
        part = Histogram("stable")
        part.widen(histogram.width)  # most likely the range of this batch, too
        pieces.append((part, flat[begin : begin + PIECE]))
    return pieces


def _groups(pairs: Sequence[tuple[Histogram, np.ndarray]]) -> Iterator[list[tuple[Histogram, np.ndarray]]]:
    group: list[tuple[Histogram, np.ndarray]] = []
    size = 0
    for histogram, array in sorted(pairs, key=lambda pair: -pair[1].size):
        group.append((histogram, array))
        size += array.size
        if size >= TASK:
            yield group
            group, size = [], 0
    if group:
        yield group
