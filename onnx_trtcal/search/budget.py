"""What a search may cost: how many samples it runs on, and what a part of the network costs beside all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx_graphsurgeon as gs

__all__ = [
    "MOST_FRESH",
    "Work",
    "compared_samples",
    "default_runs",
    "fresh_samples",
    "lone_samples",
    "most_samples",
    "multiply_adds",
    "multiply_adds_of",
]

MOST_FRESH = 16
"""So many samples at most confirm the result of a search."""

_RUNS_PER_SAMPLE, _FEWEST_COUNTED = 10, 32
# Samples times multiply-adds.
_WORK = 2.0**33
_FEWEST, _UNKNOWN, _MOST = 32, 64, 512
_FEWEST_COMPARED = 16
# The part of all runs that goes into quantizing one tensor at a time, and how many thresholds a tensor is tried with.
_LONE_SHARE, _TRIED = 0.4, 5.5
_MOST_LONE = 32


def default_runs(counted: int) -> float:
    """How many runs of the network a search takes where nothing else is asked for: ten times those of the calibration.

    Args:
        counted: how many samples were calibrated with; fewer than 32 count as 32.
    """
    return float(_RUNS_PER_SAMPLE * max(counted, _FEWEST_COUNTED))


def compared_samples(counted: int) -> int:
    """How many of the samples that were calibrated with are compared on at most: half of them, but 16 at least.

    The runs that are left show more where they go into the thresholds of single tensors.
    """
    return max(_FEWEST_COMPARED, counted // 2)


def fresh_samples(counted: int) -> int:
    """How many more to keep from the search, which confirm its result: a quarter, but 16 at most."""
    return min(MOST_FRESH, counted // 4)


def most_samples(cost: int | None) -> int:
    """How many samples to compare whole assignments on.

    512 for a model of up to 17 million multiply-adds, in proportion fewer for what costs more, 32 from 268 million on;
    64 where the cost is not known.

    Args:
        cost: the model's multiply-adds per sample, from `multiply_adds`.
    """
    if cost is None:
        return _UNKNOWN
    return min(max(int(_WORK / max(cost, 1)), _FEWEST), _MOST)


def lone_samples(runs: float, shares: Iterable[float]) -> int:
    """How many samples to quantize one tensor at a time on: 1 to 32.

    The errors of one tensor alone have no noise of others about them, so that few samples show the best threshold.

    Args:
        runs: how many runs of the network the search may take.
        shares: per tensor, what the network behind it costs as a share of all of it.
    """
    per_sample = _TRIED * sum(shares)
    return int(min(max(_LONE_SHARE * runs / max(per_sample, 1e-9), 1), _MOST_LONE))


def multiply_adds(graph: gs.Graph) -> int | None:
    """The multiply-adds of the weighted ops for one sample; None where a shape is not known.

    A free first axis counts as 1: it is the batch. A fixed one counts as it is: a single sample fills it.
    """
    costs = [multiply_adds_of(node) for node in graph.nodes]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


class Work:
    """What some nodes of a graph cost as a share of all: by multiply-adds, or by their number where a shape is unknown.

    Args:
        graph: the graph.
    """

    def __init__(self, graph: gs.Graph) -> None:
        counted = multiply_adds(graph)
        self._costs = {
            node.outputs[0].name: (multiply_adds_of(node) or 0) if counted else 1
            for node in graph.nodes
            if node.outputs
        }
        self._all = max(sum(self._costs.values()), 1)

    def share(self, first_outputs: Iterable[str]) -> float:
        """The share of some nodes, named by their first outputs: 0 to 1."""
        return sum(self._costs.get(name, 0) for name in first_outputs) / self._all


def multiply_adds_of(node: gs.Node) -> int | None:
    """The multiply-adds of a node for one sample: 0 where it is no weighted op, None where a shape is not known."""
    op = WEIGHTED.get(kind(node))
    if op is None or len(node.inputs) < 2:
        return 0
    left, right, output = (_sizes(tensor.shape) for tensor in (*node.inputs[:2], node.outputs[0]))
    return op.multiply_adds(left, right, output)


def _sizes(shape: Sequence[int | str | None] | None) -> list[int] | None:
    if shape is None:
        return None
    sizes = [1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(shape)]
    known = [size for size in sizes if isinstance(size, int) and size >= 0]
    return known if len(known) == len(sizes) else None
