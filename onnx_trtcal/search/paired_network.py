"""Runs nodes of a graph with Q/DQ pairs, several variants at a time where the graph keeps rows apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError
from onnx_trtcal.run.session import Session
from onnx_trtcal.search.float_network import elem_type
from onnx_trtcal.search.lanes import is_stack, same_shapes, split, stack
from onnx_trtcal.search.paired_graph import paired_model, scale_feeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.paired_graph import Pairs
    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions

__all__ = ["PairedNetwork", "Variant", "most_lanes"]

_WHERE = "a sample of the search"  # for error messages
# Values of quantized tensors that lanes have together: what a core's cache holds, and enough to hide the cost of a run.
_VALUES = 1 << 20
_MOST = 32

Variant = tuple[int, "Mapping[str, float]"]
"""A sample, by its position, and the scale of every tensor with a pair."""


def most_lanes(values: Mapping[str, np.ndarray]) -> int:
    """How many variants are worth running together: 1 to 32.

    Args:
        values: the tensors with pairs, of one sample.
    """
    return min(max(_VALUES // max(sum(array.size for array in values.values()), 1), 1), _MOST)


class PairedNetwork:
    """Some nodes of a graph, with pairs.

    Args:
        graph: the graph.
        nodes: positions of the nodes to run.
        wanted: the tensors to give out.
        pairs: what is quantized.
        example: a feed: the arrays that the nodes read and do not make.
        options: provider, threads and libraries of custom ops, as for Session.

    Attributes:
        lanes: so many variants are run together at most; set by `use_lanes`.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        nodes: Sequence[int],
        wanted: Sequence[str],
        pairs: Pairs,
        example: Feeds,
        options: SessionOptions,
    ) -> None:
        self.lanes = 1
        self._wanted = tuple(wanted)
        self._shared: frozenset[str] = frozenset()
        self._rows: Mapping[str, int] = {}
        self._example: Feeds = {}
        types = {name: elem_type(array) for name, array in example.items()}
        self._session = Session(paired_model(graph, nodes, types, wanted, pairs), *options, float_qdq=True)

    def use_lanes(
        self, lanes: int, rows: Mapping[str, int], example: Feeds, shared: frozenset[str] = frozenset()
    ) -> None:
        """Lets variants be run together; the caller knows that the graph keeps rows apart.

        Args:
            lanes: so many at most.
            rows: tensor with a pair -> its size along axis 0 for a feed like `example`.
            example: only feeds of these shapes are stacked.
            shared: what the lanes of a run have in common, and is not stacked.
        """
        self.lanes, self._rows, self._example, self._shared = lanes, rows, example, shared

    def confirm_lanes(self, feeds: Feeds, scales: Mapping[str, float]) -> None:
        """Takes lanes back where two of them together do not give what each gives alone."""
        if self.lanes == 1:
            return
        try:
            alone = self.run([feeds], [scales])[0]
            together = self.run([feeds, feeds], [scales, scales])
        except ModelError:
            self.lanes = 1
            return
        if not all(is_stack(each[name], [alone[name]]) for each in together for name in alone):
            self.lanes = 1

    def chunks(self, feeds: Sequence[Feeds]) -> list[list[int]]:
        """The positions of feeds to run together."""
        found: list[list[int]] = []
        last_stacks = False
        known: dict[int, bool] = {}  # variants of a sample share its feeds
        for at, each in enumerate(feeds):
            if (stacks := known.get(id(each))) is None:
                stacks = known[id(each)] = self._stacks(each)
            if stacks and last_stacks and len(found[-1]) < self.lanes:
                found[-1].append(at)
            else:
                found.append([at])
            last_stacks = stacks
        return found

    def run(
        self, feeds: Sequence[Feeds], scales: Sequence[Mapping[str, float]]
    ) -> list[dict[str, np.ndarray]]:
        """The float tensors among the wanted, for each of some variants that `chunks` lets run together.

        Args:
            feeds: what each variant is fed.
            scales: tensor with a pair -> scale, for each variant.

        Raises:
            ModelError: when ONNX Runtime fails.
        """
        parts = {name: split(array, len(feeds)) for name, array in self.run_together(feeds, scales).items()}
        return [{name: part[lane] for name, part in parts.items()} for lane in range(len(feeds))]

    def run_together(
        self, feeds: Sequence[Feeds], scales: Sequence[Mapping[str, float]]
    ) -> dict[str, np.ndarray]:
        """As `run`, with the variants of each tensor one after another along axis 0."""
        if len(feeds) == 1:
            made = scale_feeds({name: np.array(scale, np.float32) for name, scale in scales[0].items()})
            return self._floats(self._session.run({**feeds[0], **made}, _WHERE))
        rows = {
            name: np.repeat(np.array([each[name] for each in scales], np.float32), self._rows[name])
            for name in scales[0]
        }
        together = {**feeds[0], **stack([self._stacked(each) for each in feeds]), **scale_feeds(rows)}
        return self._floats(self._session.run(together, _WHERE))

    def _stacks(self, feeds: Feeds) -> bool:
        return self.lanes > 1 and same_shapes(self._stacked(self._example), self._stacked(feeds))

    def _stacked(self, feeds: Feeds) -> dict[str, np.ndarray]:
        return {name: array for name, array in feeds.items() if name not in self._shared}

    def _floats(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        named = zip(self._wanted, arrays, strict=True)
        return {name: array for name, array in named if array.dtype.kind == "f"}
