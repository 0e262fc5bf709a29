"""The thresholds of many tensors, each by its own method."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.methods.method import Method, SecondPass
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["solve_all"]


def solve_all(
    counted: Mapping[str, Histogram | SecondPass], methods: Mapping[str, Method], threads: int | None = None
) -> dict[str, float]:
    """The threshold of every tensor, by its method.

    Tensors are solved side by side (the solvers release the GIL); the result does not depend on `threads`.

    Args:
        counted: per tensor, its histogram or what the second pass of its method counted.
        methods: per tensor; others are ignored.
        threads: at most so many at a time; None for one per core.

    Returns:
        Thresholds in the order of `counted`.

    Raises:
        StatisticsError: as Method.solve, naming the tensor.
    """

    def solve(name: str) -> float:
        try:
            return methods[name].solve(counted[name])
        except StatisticsError as error:
            raise StatisticsError(error.what, where=f"tensor {name!r}", fix=error.fix) from error

    with ThreadPoolExecutor(threads or cores()) as pool:
        return dict(zip(counted, pool.map(solve, counted), strict=True))
