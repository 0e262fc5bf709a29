"""What quantizing one tensor does to the outputs of the network, everything else being in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.fidelity.blocks import BlockErrors, BlockFinder, mean_relative
from onnx_trtcal.search.subgraph import Subgraph
from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions, SubgraphRunner, quantized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.graph.output_blocks import OutputBlocks
    from onnx_trtcal.qdq.place.placement import Activation
    from onnx_trtcal.search.subgraph import ExportedGraph

__all__ = ["DISCRETE", "OutputError", "comparable_outputs", "promising"]

# What they give is chosen, counted or drawn: a slightly different input gives the same or something else.
DISCRETE = frozenset(
    {
        *("ArgMax", "ArgMin", "TopK", "Hardmax", "NonMaxSuppression", "NonZero", "Unique", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"),
        *("EfficientNMS_TRT", "BatchedNMS_TRT", "NMS_TRT", "BatchedNMSDynamic_TRT"),
    }
)
# After this share of the samples the candidates that are far off are not run any more.
_FIRST = 4
# Low enough to save work, high enough that the smoothed errors still show both walls of the valley.
_HOPELESS = 30.0


class OutputError:
    """Runs the network with one tensor quantized at a time, and measures the error at its outputs.

    Args:
        graph: the folded graph.
        samples: one feed per sample.
        session_options: as for Session.
        layouts: output -> what the graph says of its channels, see `graph.output_blocks`.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        samples: Sequence[Feeds],
        session_options: SessionOptions,
        layouts: Mapping[str, OutputBlocks],
    ) -> None:
        self._graph = graph
        self._samples = samples
        self._session_options = session_options
        self._layouts = layouts
        self._outputs = comparable_outputs(graph)

    def of(self, activations: Iterable[Activation], thresholds: Mapping[str, float]) -> dict[str, float]:
        """The relative error power at the outputs for each candidate.

        Args:
            activations: what is quantized with one threshold, everything else being left in floating point.
            thresholds: candidate -> threshold, positive.

        Returns:
            The candidates that were not far off on the first quarter of the samples, with the mean over the blocks
            of the float outputs of sum (y - y')^2 / sum y^2 over all samples, see `comparable_outputs` and
            `fidelity.blocks`; empty where no output depends on these tensors.
        """
        reads = {activation.tensor: activation.reads for activation in activations}
        behind = self._graph.behind(read for of in reads.values() for read in of)
        made = {name for at in behind for name in self._graph.nodes[at].output}
        wanted = [name for name in self._outputs if name in made]
        if not wanted or not self._samples:
            return {}
        subgraph = Subgraph(self._graph, behind, reads, wanted)
        runner = SubgraphRunner(subgraph, self._samples[0], self._session_options)
        first = -(-len(self._samples) // _FIRST)
        names = list(thresholds)
        finder = BlockFinder(self._layouts)
        errors = {name: BlockErrors(self._layouts) for name in names}

        def found() -> dict[str, float]:
            return {name: mean_relative(errors[name].of(finder.blocks())) for name in names}

        for count, feeds in enumerate(self._samples, 1):
            arrays = runner.arrays(feeds)
            exact = runner.named(arrays, {})
            for output, expected in exact.items():
                finder.add(output, expected)
            for name in names:
                replaced = {each: quantized(arrays[each], thresholds[name]) for each in reads}
                for output, got in runner.named(arrays, replaced).items():
                    errors[name].add(output, exact[output], got)
            if count == first:
                names = promising(found())
        return found()


def comparable_outputs(graph: ExportedGraph) -> tuple[str, ...]:
    """The graph's outputs, or what comes before a choice that has no distance.

    Behind a TopK or a NonMaxSuppression, shapes and rows change with the smallest error, so that nothing
    there can be compared value by value; the scores and boxes that go in can.
    """
    chosen: set[str] = set()
    found: dict[str, None] = {}
    dependent = set(graph.inputs)
    for at, node in enumerate(graph.nodes):
        read = graph.reads(at)
        if not dependent.isdisjoint(read):
            dependent.update(node.output)
        if node.op_type in DISCRETE or not chosen.isdisjoint(read):
            found.update({name: None for name in read if name in dependent and name not in chosen})
            chosen.update(name for name in node.output if name)
    found.update({name: None for name in graph.outputs if name not in chosen})
    return tuple(name for name in found if name not in graph.inputs)


def promising(errors: Mapping[str, float]) -> list[str]:
    """The candidates whose error is at most 30 times the least, in the order given."""
    least = min(errors.values())
    return [name for name, error in errors.items() if error <= _HOPELESS * least]
