"""NumPy's linear algebra on one thread: the same digits on every machine, and no thread that spins while it waits."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_blas_thread"]


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within this context, BLAS and LAPACK run on the calling thread.

    A factorization is split up by the number of threads, and so are the sums in it. Where the cores have other work,
    threads that wait for one another take ten times as long as one alone.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
