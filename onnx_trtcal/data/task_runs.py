"""Tasks put together where each alone takes less than it takes to pass it to another thread and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

__all__ = ["Run", "in_runs"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Run(Generic[R]):
    """What became of consecutive tasks.

    Attributes:
        results: of those that succeeded, up to the first that did not.
        error: what that one raised.
    """

    results: Sequence[R]
    error: Exception | None


def in_runs(
    tasks: Iterable[T], most: int, do: Callable[[T], R], small: Callable[[T], bool]
) -> Generator[Callable[[], Run[R]], None, None]:
    """Tasks put together, up to `most` consecutive ones, as calls that do them one after the other.

    What the iterable raises comes after what it gave before.

    Args:
        tasks: the tasks.
        most: how many in one call.
        do: does one.
        small: whether a task is little work; none follows one that is not in the same call.
    """
    iterator = iter(tasks)
    while True:
        run: list[T] = []
        try:
            while len(run) < most and (not run or small(run[-1])):
                run.append(next(iterator))
        except StopIteration:
            if run:
                yield partial(_done, run, do)
            return
        except Exception:
            if run:
                yield partial(_done, run, do)
            raise
        yield partial(_done, run, do)


def _done(tasks: Sequence[T], do: Callable[[T], R]) -> Run[R]:
    results: list[R] = []
    try:
        for task in tasks:
            results.append(do(task))  # noqa: PERF401 (what was done before an error is kept)
    except Exception as error:  # noqa: BLE001 (raised by the consumer, in its place in the order)
        return Run(results, error)
    return Run(results, None)
