"""The network in floating point: the values that its tensors have for each sample of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.errors import ModelError
from onnx_trtcal.run.session import Session
from onnx_trtcal.search.lanes import is_stack, same_shapes, stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions

__all__ = ["FloatNetwork", "elem_type"]

_WHERE = "a sample of the search"  # for error messages


def elem_type(array: np.ndarray) -> int:
    """The ONNX element type of an array."""
    return int(np_dtype_to_tensor_dtype(array.dtype))


class FloatNetwork:
    """Runs a graph for some of its tensors, and remembers the values of as many samples as fit into memory.

    Args:
        graph: the graph.
        tensors: the tensors to give out.
        samples: one feed per sample.
        options: provider, threads and libraries of custom ops, as for Session.
        most_bytes: how much to remember.

    Attributes:
        constant: those of the tensors that are the same for every sample.
        stackable: those of the others that can be had for several samples at once, one after another along axis 0.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        tensors: Iterable[str],
        samples: Sequence[Feeds],
        options: SessionOptions,
        most_bytes: int,
    ) -> None:
        dependent = set(graph.inputs)
        for at, node in enumerate(graph.nodes):
            if not dependent.isdisjoint(graph.reads(at)):
                dependent.update(node.output)
        wanted = tuple(dict.fromkeys(tensors))
        self.samples = samples
        self._fed = tuple(name for name in wanted if name in graph.inputs)
        self._computed = tuple(name for name in wanted if name not in graph.inputs)
        self._left = most_bytes
        self._known: dict[int, dict[str, np.ndarray]] = {}
        self._session: Session | None = None
        if self._computed:
            types = {name: elem_type(array) for name, array in samples[0].items()}
            nodes = graph.before(self._computed)
            self._session = Session(graph.model(nodes, types, self._computed), *options)
        first = self.values(0)
        self.constant = {name: first[name] for name in wanted if name not in dependent}
        self.stackable = self._find_stackable()

    def values(self, sample: int) -> Mapping[str, np.ndarray]:
        """The tensors for one sample."""
        if sample in self._known:
            return self._known[sample]
        found = self._run(self.samples[sample])
        size = sum(array.nbytes for array in found.values())
        if size <= self._left:
            self._left -= size
            self._known[sample] = found
        return found

    def floats(self, sample: int) -> dict[str, np.ndarray]:
        """Those of the tensors for one sample that are floats."""
        return {name: array for name, array in self.values(sample).items() if array.dtype.kind == "f"}

    def _run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        found = {name: feeds[name] for name in self._fed}
        if self._session is not None:
            found.update(zip(self._computed, self._session.run(feeds, _WHERE), strict=True))
        return found

    def _find_stackable(self) -> frozenset[str]:
        """What two samples give together that each gives alone."""
        other = len(self.samples) - 1
        if not same_shapes(self.samples[0], self.samples[other]):
            other = 0
        pair = [self.samples[0], self.samples[other]]
        if not same_shapes(*pair):
            return frozenset()
        try:
            together = self._run(stack(pair))
        except ModelError:
            return frozenset()  # the sizes of the graph are fixed
        alone = [self.values(0), self.values(other)]
        return frozenset(
            name
            for name, array in together.items()
            if name not in self.constant and is_stack(array, [each[name] for each in alone])
        )
