"""The network with one tensor quantized and everything else in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.scales import to_scale
from onnx_trtcal.search.float_network import elem_type
from onnx_trtcal.search.objective import relative_error
from onnx_trtcal.search.paired_graph import Pairs
from onnx_trtcal.search.paired_network import PairedNetwork, most_lanes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from onnx_trtcal.qdq.place.placement import Activation
    from onnx_trtcal.search.float_network import FloatNetwork
    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.search.variants import VariantMeter

__all__ = ["LoneTensor", "LoneTensorMeter"]


class LoneTensor:
    """The part of a network behind one tensor, or behind several that share a threshold.

    Args:
        graph: the folded graph.
        activations: the pairs that get the threshold.
        outputs: the tensors that are compared.

    Attributes:
        nodes: positions of the nodes behind the reads of the pairs.
        wanted: those of the outputs that they make.
        tensors: what they read and do not make.
    """

    def __init__(
        self, graph: ExportedGraph, activations: Sequence[Activation], outputs: Sequence[str]
    ) -> None:
        self.graph = graph
        self.activations = tuple(activations)
        self.nodes = graph.behind(read for each in activations for read in each.reads)
        made = {name for at in self.nodes for name in graph.nodes[at].output}
        self.wanted = tuple(name for name in outputs if name in made)
        through_pair = frozenset((read.node, read.index) for each in activations for read in each.reads)
        pairs = (each.tensor for each in activations if each.tensor not in made)
        self.tensors = tuple(dict.fromkeys((*pairs, *graph.boundary(self.nodes, through_pair))))

    @property
    def first_outputs(self) -> tuple[str, ...]:
        """Names of the nodes behind the tensor."""
        return tuple(self.graph.nodes[at].output[0] for at in self.nodes)


class LoneTensorMeter:
    """Measures what quantizing a lone tensor does to the outputs.

    Args:
        values: gives the tensors of every LoneTensor and every pair, for the samples to run on.
        positions: of these samples among those that `meter` knows.
        meter: compares outputs.
        options: provider, threads and libraries of custom ops, as for Session.
        lanes: whether operators take a scale per row.
    """

    def __init__(
        self,
        values: FloatNetwork,
        positions: Sequence[int],
        meter: VariantMeter,
        options: SessionOptions,
        *,
        lanes: bool,
    ) -> None:
        self._values, self._positions, self._meter = values, positions, meter
        self._options, self._lanes = options, lanes
        self._signal = meter.signal(positions)

    def values_of(self, tensor: str) -> list[np.ndarray]:
        """A tensor that some LoneTensor reads, for each of the samples to run on."""
        return [self._values.values(at)[tensor] for at in range(len(self._positions))]

    def network(self, lone: LoneTensor) -> PairedNetwork:
        """The session for a lone tensor, with lanes where all that it reads can be stacked."""
        first = self._values.values(0)
        tensors = [each.tensor for each in lone.activations]
        pairs = Pairs(lone.activations, {name: elem_type(first[name]) for name in tensors})
        example = {name: first[name] for name in lone.tensors}
        network = PairedNetwork(lone.graph, lone.nodes, lone.wanted, pairs, example, self._options)
        shared = frozenset(lone.tensors) & self._values.constant.keys()
        if self._lanes and self._values.stackable.issuperset({*lone.tensors, *tensors} - shared):
            rows = {name: first[name].shape[0] for name in tensors}
            lanes = most_lanes({name: first[name] for name in lone.tensors if name not in shared})
            network.use_lanes(lanes, rows, example, shared)
        return network

    def errors(self, network: PairedNetwork, lone: LoneTensor, thresholds: Sequence[float]) -> np.ndarray:
        """The relative error at the outputs, the mean over their blocks, for each threshold: float64[thresholds].

        Args:
            network: from `network`.
            lone: what it was opened for.
            thresholds: positive.

        Raises:
            ModelError: when ONNX Runtime cannot run this part of the model.
        """
        scales: list[Mapping[str, float]] = [
            {each.tensor: to_scale(threshold) for each in lone.activations} for threshold in thresholds
        ]
        place = {position: at for at, position in enumerate(self._positions)}

        def feeds(position: int) -> dict[str, np.ndarray]:
            values = self._values.values(place[position])
            return {name: values[name] for name in lone.tensors}

        noise = self._meter.noise(network, scales, self._positions, feeds)
        return relative_error(noise, self._signal)
