"""How many samples a search runs on: as many as the cost of the model allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_graphsurgeon as gs

__all__ = ["most_samples", "multiply_adds"]

# Tensors times samples times multiply-adds: about a minute of CPU time.
_WORK = 2.0**38
# Tensors times samples.
_LEAST_RUNS, _UNKNOWN_RUNS, _MOST_RUNS = 512, 1024, 4096
_FEWEST, _MOST = 8, 512


def most_samples(searched: int, cost: int | None) -> int:
    """How many samples to search the thresholds of so many tensors on.

    Tensors times samples is 4096 for a model of up to 67 million multiply-adds and falls in proportion to
    what it costs beyond that, to 512 from 537 million on; 1024 where the cost is not known. The number of
    samples is at least 8 and at most 512, whatever comes out.

    Args:
        searched: how many tensors are quantized one at a time.
        cost: the model's multiply-adds per sample, from `multiply_adds`.
    """
    runs = _UNKNOWN_RUNS
    if cost is not None:
        runs = int(min(max(_WORK / max(cost, 1), _LEAST_RUNS), _MOST_RUNS))
    return min(max(runs // max(searched, 1), _FEWEST), _MOST)


def multiply_adds(graph: gs.Graph) -> int | None:
    """The multiply-adds of the weighted ops for one sample; None where a shape is not known.

    A free first axis counts as 1: it is the batch. A fixed one counts as it is: a single sample fills it.
    """
    total = 0
    for node in graph.nodes:
        op = WEIGHTED.get(kind(node))
        if op is not None and len(node.inputs) >= 2:
            left, right, output = (_sizes(tensor.shape) for tensor in (*node.inputs[:2], node.outputs[0]))
            cost = op.multiply_adds(left, right, output)
            if cost is None:
                return None
            total += cost
    return total


def _sizes(shape: Sequence[int | str | None] | None) -> list[int] | None:
    if shape is None:
        return None
    sizes = [1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(shape)]
    known = [size for size in sizes if isinstance(size, int) and size >= 0]
    return known if len(known) == len(sizes) else None
