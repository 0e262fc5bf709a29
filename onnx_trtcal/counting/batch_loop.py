"""Runs batches through the observed model and passes every activation on to be counted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.run.session import Session
    from onnx_trtcal.support.device_array import Activation

__all__ = ["Counting", "collect", "note_shapes", "run_alone", "run_batch"]


class Counting(Protocol):
    """What becomes of the batches that are run, in the order of its methods for each of them."""

    def admit(self, batch: Batch) -> bool:
        """Takes note of the next batch before it is run, where several are at a time.

        Returns:
            Whether it and all before it are to be finished before another one is run.

        Raises:
            StatisticsError: when one of its samples is counted already.
        """

    def count(
        self, batch: Batch, arrays: Mapping[str, Activation], alone: Callable[[int], Mapping[str, Activation]]
    ) -> None:
        """Counts a batch.

        Args:
            batch: that one.
            arrays: the values of its real samples, per observed tensor; valid until this returns, for they are ONNX
                Runtime's own memory.
            alone: runs the sample at a position of the batch by itself; raises ModelError.
        """

    def finish(self, batch: Batch) -> bool:
        """Takes note that a batch, and every one before it, is counted; returns whether to continue."""


def collect(
    session: Session,
    batches: Iterable[Batch],
    counting: Counting,
    seen_shapes: dict[str, SeenShapes],
    device: str | None = None,
    rows: int | None = None,
) -> None:
    """Runs batch after batch until `counting` says stop; the activations of one run are alive at a time.

    Args:
        session: runs the observed model.
        batches: what to run.
        counting: counts and finishes each batch.
        seen_shapes: the shapes fed to each input are added to it.
        device: where activations are left, as `Session.run_to_count` takes it; None for arrays of the host.
        rows: samples of a batch to run at a time; None for all of them.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on a batch.
    """
    for batch in batches:
        note_shapes(seen_shapes, batch)
        for piece in batch.pieces(rows):
            # Held in no name: otherwise this run's activations would stay until the next one's are all there.
            counting.count(
                piece, run_batch(session, piece, device), partial(run_alone, session, piece, device)
            )
            if not counting.finish(piece):
                return


def note_shapes(seen_shapes: dict[str, SeenShapes], batch: Batch) -> None:
    """Adds the shapes of a batch's feeds to those seen of each input."""
    for name, array in batch.feeds.items():
        seen_shapes.setdefault(name, SeenShapes(item_axis=batch.feeding.free_axis(name))).add(array.shape)


def run_batch(session: Session, batch: Batch, device: str | None = None) -> Mapping[str, Activation]:
    """The activations of a batch's real samples, per observed tensor.

    Raises:
        ModelError: when ONNX Runtime fails on the batch.
    """
    arrays = _run(session, batch, device)
    return {name: _real_rows(array, batch) for name, array in arrays.items()} if batch.padded else arrays


def run_alone(session: Session, batch: Batch, device: str | None, place: int) -> Mapping[str, Activation]:
    """The activations of one of a batch's samples, in every row of a fixed batch; see `run_batch`."""
    return _run(session, batch.alone(place), device)


def _run(session: Session, batch: Batch, device: str | None) -> Mapping[str, Activation]:
    try:
        arrays = session.run_to_count(batch.feeds, batch.names[0], device)
    except ModelError as error:
        asked = batch.feeding.asked
        if not asked:
            raise
        fix = f"{error.fix}; or items lie along other axes than {asked} says: without it, a trial finds that out"
        raise ModelError(error.what, where=f"{error.where}, as {asked} says", fix=fix) from error
    return dict(zip(session.outputs, arrays, strict=True))


def _real_rows(array: Activation, batch: Batch) -> Activation:
    """The array without the rows that only fill up a fixed batch."""
    return array[: batch.count] if array.ndim and array.shape[0] == batch.rows else array
