"""Work done ahead of its consumer: in threads, in order, and never more than a given amount of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")


def prefetch(tasks: Iterable[Callable[[], T]], depth: int, workers: int) -> Generator[T, None, None]:
    """The results of `tasks`, in their order.

    One thread advances `tasks`, `workers` others make the calls; at most `depth` results are waiting, being
    made, or in the consumer's hands. What a task or the iterable raises is raised here, in its place in the
    order. Closing the generator ends the threads: the one that advances `tasks` at its next element.
    """
    prefetcher = _Prefetcher(tasks, depth, workers)
    try:
        yield from prefetcher.results()
    finally:
        prefetcher.stop()


class _Prefetcher(Generic[T]):
    def __init__(self, tasks: Iterable[Callable[[], T]], depth: int, workers: int) -> None:
        self._tasks = tasks
        self._slots = threading.Semaphore(max(1, depth))
        self._stopped = threading.Event()
        self._futures: queue.SimpleQueue[Future[T] | None] = queue.SimpleQueue()
        self._workers = ThreadPoolExecutor(max(1, workers), thread_name_prefix="calibration-data")
        self._feeder = threading.Thread(target=self._feed, name="calibration-data-order", daemon=True)
        self._feeder.start()

    def results(self) -> Generator[T, None, None]:
        while (future := self._futures.get()) is not None:
            yield future.result()
            # Freed only now: until the consumer asks for more it still holds this result.
            del future
            self._slots.release()

    def stop(self) -> None:
        self._stopped.set()
        self._slots.release()
        self._workers.shutdown(wait=True, cancel_futures=True)
        # Not forever: a user's iterator may be waiting for a network.
        self._feeder.join(timeout=2)

    def _feed(self) -> None:
        iterator = iter(self._tasks)
        try:
            while True:
                self._slots.acquire()
                if self._stopped.is_set():
                    return
                task = next(iterator, None)
                if task is None or self._stopped.is_set():
                    return
                self._futures.put(self._workers.submit(task))
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer's thread)
            failed: Future[T] = Future()
            failed.set_exception(error)
            self._futures.put(failed)
        finally:
            self._futures.put(None)
            if isinstance(iterator, Generator):
                iterator.close()
