"""Runs batches through the observed model and counts every activation into its histogram."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from onnx_trtcal.trtexec import SeenShapes

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.run.session import Session
    from onnx_trtcal.stats.collection import Collection

__all__ = ["collect"]


def collect(
    session: Session,
    batches: Iterable[Batch],
    collection: Collection,
    seen_shapes: dict[str, SeenShapes],
    advance: Callable[[int], None],
) -> None:
    """Adds every batch to the collection; one batch of activations is alive at a time.

    Args:
        session: runs the observed model.
        batches: what to run.
        collection: counts into its histograms, in place.
        seen_shapes: notes the shapes fed to each input, in place.
        advance: told how many samples are done after each batch.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on a batch.
    """
    for batch in batches:
        for name, array in batch.feeds.items():
            seen_shapes.setdefault(name, SeenShapes()).add(array.shape)
        arrays = session.run(batch.feeds, batch.names[0])
        real = {name: _real_rows(array, batch) for name, array in zip(session.outputs, arrays, strict=True)}
        collection.add(batch.names, batch.hashes, real)
        del arrays, real
        advance(batch.count)


def _real_rows(array: np.ndarray, batch: Batch) -> np.ndarray:
    """The array without the rows that only fill up a fixed batch."""
    rows = len(next(iter(batch.feeds.values()), ())) if batch.padded else 0
    return array[: batch.count] if rows and array.ndim and array.shape[0] == rows else array
