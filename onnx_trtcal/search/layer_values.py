"""What single layers read and make in floating point, for the samples of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.search.float_network import FloatNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions

__all__ = ["LayerValues"]


class LayerValues:
    """The tensors of layers that are looked at one step after the other.

    The network runs for as many steps at a time as memory holds the tensors of, for all samples.

    Args:
        graph: the graph.
        steps: the tensors of each step.
        samples: one feed per sample.
        options: as for Session.
        most_bytes: how much to hold; one step is held whatever it takes.

    Attributes:
        constant: the tensors that are the same for every sample, by name.
        stackable: those that can be had for several samples at once, one after another along axis 0.
        example: all of them for the first sample.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        steps: Sequence[Sequence[str]],
        samples: Sequence[Feeds],
        options: SessionOptions,
        most_bytes: int,
    ) -> None:
        self._graph, self._steps, self._samples, self._options = graph, steps, samples, options
        self._most_bytes = most_bytes
        wanted = dict.fromkeys(name for step in steps for name in step)
        network = FloatNetwork(graph, wanted, [samples[0], samples[-1]], options, most_bytes=0)
        self.constant = network.constant
        self.stackable = network.stackable
        self.example = network.values(0)
        self._held: frozenset[str] = frozenset()
        self._values: list[Mapping[str, np.ndarray]] = []

    def of(self, step: int) -> Sequence[Mapping[str, np.ndarray]]:
        """The tensors of a step, for each sample."""
        if not self._held.issuperset(self._steps[step]) or not self._values:
            self._hold(step)
        return self._values

    def _hold(self, step: int) -> None:
        wanted: dict[str, None] = {}
        for each in self._steps[step:]:
            more = wanted | dict.fromkeys(each)
            size = sum(self.example[name].nbytes for name in more)
            if wanted and size * len(self._samples) > self._most_bytes:
                break
            wanted = more
        self._values = []  # before the next ones are made
        self._held = frozenset(wanted)
        network = FloatNetwork(self._graph, wanted, self._samples, self._options, most_bytes=0)
        self._values = [network.values(at) for at in range(len(self._samples))]
