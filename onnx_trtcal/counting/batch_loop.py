"""Runs batches through the observed model and passes every activation on to be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.run.session import Session
    from onnx_trtcal.support.device_array import Activation

__all__ = ["collect"]


def collect(
    session: Session,
    batches: Iterable[Batch],
    count: Callable[[Batch, Mapping[str, Activation]], bool],
    seen_shapes: dict[str, SeenShapes],
    device: str | None = None,
) -> None:
    """Runs batch after batch until `count` says stop; one batch of activations is alive at a time.

    Args:
        session: runs the observed model.
        batches: what to run.
        count: receives each batch with the values of its real samples, per observed tensor; the arrays are
            ONNX Runtime's own memory, valid until it returns. It returns whether to continue.
        seen_shapes: the shapes fed to each input are added to it.
        device: where activations are left, as `Session.run_on` takes it; None for arrays of the host.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on a batch.
    """
    for batch in batches:
        for name, array in batch.feeds.items():
            seen_shapes.setdefault(name, SeenShapes(item_axis=batch.feeding.free_axis(name))).add(array.shape)
        arrays = _run(session, batch, device)
        real = {name: _real_rows(array, batch) for name, array in zip(session.outputs, arrays, strict=True)}
        more = count(batch, real)
        # Otherwise this batch's activations would stay until the next one's are all there.
        del arrays, real
        if not more:
            break


def _run(session: Session, batch: Batch, device: str | None) -> Sequence[Activation]:
    try:
        if device is None:
            return session.run(batch.feeds, batch.names[0])
        return session.run_on(device, batch.feeds, batch.names[0])
    except ModelError as error:
        asked = batch.feeding.asked
        if not asked:
            raise
        fix = f"{error.fix}; or items lie along other axes than {asked} says: without it, a trial finds that out"
        raise ModelError(error.what, where=f"{error.where}, as {asked} says", fix=fix) from error


def _real_rows(array: Activation, batch: Batch) -> Activation:
    """The array without the rows that only fill up a fixed batch."""
    whole = not (batch.padded and array.ndim and array.shape[0] == batch.rows)
    return array if whole else array[: batch.count]
