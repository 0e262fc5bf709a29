"""Runs and counts several batches at a time, with the outcome of one after the other.

Workers take batches in the order of the data. A batch is counted only once all before it have run: where one fails,
nothing that comes after it is counted, and what is counted are the first samples of the data. Batches are finished in
their order, in the thread that called.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.counting.batch_loop import note_shapes, run_alone, run_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_trtcal.counting.batch_loop import Counting
    from onnx_trtcal.counting.run_setup import RunSetup
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.run.session import Session

__all__ = ["collect_in_parallel"]


def collect_in_parallel(
    session: Session,
    batches: Iterable[Batch],
    counting: Counting,
    seen_shapes: dict[str, SeenShapes],
    setup: RunSetup,
) -> None:
    """Like `batch_loop.collect`, with several workers; as many runs' activations are alive at a time.

    Args:
        session: runs the observed model; called by all workers.
        batches: what to run, each in pieces where the workers take fewer samples at a time.
        counting: `count` is called by the workers, everything else in this thread.
        seen_shapes: the shapes of the batches are added to it.
        setup: how many workers, and the samples that each runs at a time.

    Raises:
        DataError: from reading the data, when every batch before is counted and finished.
        ModelError: when ONNX Runtime fails on a batch; likewise.
        StatisticsError: when a sample is counted already; likewise.
    """
    line = _Line(session, counting, setup.workers)
    try:
        for batch in batches:
            note_shapes(seen_shapes, batch)
            for piece in batch.pieces(setup.rows):
                pause = counting.admit(piece)
                line.put(piece)
                if pause and not line.finish_all():
                    return
        line.finish_all()
    except Exception as error:
        first = line.first_fault(error)
        if first is error:
            raise
        raise first from error
    finally:
        line.close()


class _Line:
    """The batches that are being worked on, in the order of the data.

    Args:
        session: runs them.
        counting: counts and finishes them.
        workers: how many are run at a time; one more waits, so that no worker does.
    """

    def __init__(self, session: Session, counting: Counting, workers: int) -> None:
        self._session = session
        self._counting = counting
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="calibration-run")
        self._batches: deque[tuple[Batch, Future[bool]]] = deque()
        self._fault: Exception | None = None
        self._closed = threading.Event()
        # Whether all batches so far have run, as soon as that is known.
        self._ran: Future[bool] = Future()
        self._ran.set_result(True)

    def put(self, batch: Batch) -> None:
        """Adds a batch, once there is room for it."""
        while len(self._batches) > self._workers:
            self._finish_first()
        before, self._ran = self._ran, Future()
        self._batches.append((batch, self._pool.submit(self._work, batch, before, self._ran)))

    def finish_all(self) -> bool:
        """Waits until every batch is counted, and finishes them; whether the last one said to continue."""
        more = True
        while self._batches:
            more = self._finish_first()
        return more

    def first_fault(self, error: Exception) -> Exception:
        """Finishes what can still be counted after an error; returns the one that comes first in the data's order."""
        while self._batches:
            try:
                self._finish_first()
            except Exception:  # noqa: BLE001 (noted by _finish_first, which saw it after an earlier one)
                continue
        return self._fault or error

    def close(self) -> None:
        """Ends the workers; what is not counted by then is not counted any more."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finish_first(self) -> bool:
        batch, counted = self._batches.popleft()
        try:
            return self._counting.finish(batch) if counted.result() else False
        except Exception as error:
            self._fault = self._fault or error
            raise

    def _work(self, batch: Batch, before: Future[bool], ran: Future[bool]) -> bool:
        """Runs and counts a batch; returns False where it is not counted, because one before it failed."""
        counts = False
        try:
            if self._closed.is_set():
                return False
            arrays = run_batch(self._session, batch)
            counts = before.result() and not self._closed.is_set()
        finally:
            ran.set_result(counts)
        if counts:
            self._counting.count(batch, arrays, partial(run_alone, self._session, batch, None))
        return counts
