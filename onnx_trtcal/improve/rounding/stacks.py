"""Samples that run together: many small runs cost more than what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.search.float_network import FloatNetwork
from onnx_trtcal.search.lanes import same_shapes, stack
from onnx_trtcal.search.outputs import comparable_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx_trtcal.improve.rounding.layer import RoundedLayer
    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions

__all__ = ["Stacks", "most_together", "stack_samples"]

# Values of the largest tensor of a run: what a core's cache holds, and enough to hide the cost of a run.
_VALUES = 1 << 20
_MOST = 32


@dataclass(frozen=True)
class Stacks:
    """Samples, as they are run.

    Attributes:
        feeds: of each stack.
        counts: how many samples each holds, one after another along axis 0.
        fit: positions of the stacks to find integers and biases on.
        back: positions of those held back.
    """

    feeds: tuple[Feeds, ...]
    counts: tuple[int, ...]
    fit: tuple[int, ...]
    back: tuple[int, ...]


def most_together(
    graph: ExportedGraph, layers: Iterable[RoundedLayer], samples: Sequence[Feeds], options: SessionOptions
) -> int:
    """How many samples to run together: 1 to 32, by the size of what they pass through.

    It is 1 where some layer does not give for two samples together what it gives for each of them.

    Args:
        graph: the float graph.
        layers: those to round.
        samples: one feed per sample.
        options: as for Session.
    """
    wanted = dict.fromkeys(name for each in layers for name in (each.before_activation, each.output))
    wanted.update(dict.fromkeys(comparable_outputs(graph)))
    network = FloatNetwork(graph, wanted, [samples[0], samples[-1]], options, most_bytes=0)
    if not network.stackable.issuperset(wanted):
        return 1
    values = [*samples[0].values(), *network.values(0).values()]
    return min(max(_VALUES // max(*(array.size for array in values), 1), 1), _MOST)


def stack_samples(samples: Sequence[Feeds], fit: Iterable[int], back: Iterable[int], together: int) -> Stacks:
    """Samples in stacks of those to fit to and of those held back, in their order.

    Args:
        samples: one feed per sample.
        fit: positions of those to find integers and biases on.
        back: positions of those held back.
        together: so many in a stack at most; those of another shape begin a new one.
    """
    feeds: list[Feeds] = []
    counts: list[int] = []
    sides: list[tuple[int, ...]] = []
    for side in (fit, back):
        first = len(feeds)
        for group in _groups([samples[at] for at in side], together):
            feeds.append(stack(group))
            counts.append(len(group))
        sides.append(tuple(range(first, len(feeds))))
    return Stacks(tuple(feeds), tuple(counts), *sides)


def _groups(samples: Sequence[Feeds], together: int) -> list[list[Feeds]]:
    found: list[list[Feeds]] = []
    for each in samples:
        if found and len(found[-1]) < together and same_shapes(found[-1][0], each):
            found[-1].append(each)
        else:
            found.append([each])
    return found
