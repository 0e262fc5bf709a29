"""The channels of a graph's tensors, numbered so that channels with one number must have one factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.ops import QUANTIZED
from onnx_trtcal.improve.equalize.moves import Surroundings
from onnx_trtcal.improve.equalize.ties import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.improve.equalize.roles import Maker, Reader, Shift

__all__ = ["UNSCALED", "Channels"]

Shape = tuple[int | str | None, ...]

UNSCALED = 0
"""The number of channels whose factor is 1 whatever happens."""


class Channels:
    """The numbered channels of a graph.

    Attributes:
        graph: the graph, which is not changed.
        around: its constants and shapes.
        ids: activation -> the numbers of its channels, which broadcast to it; None where it has none.
        readers: the layers that can multiply what they read by factors.
        makers: what can give the channels of a tensor any factors.
        shifts: constants that follow the factors of what they are added to.
        count: how many numbers there are.
    """

    def __init__(self, graph: gs.Graph, shapes: Mapping[str, Shape | None], *, insert: bool) -> None:
        self.graph = graph
        self.around = Surroundings(Constants(graph, opaque=QUANTIZED), shapes)
        self.ids: dict[str, np.ndarray | None] = {}
        self.readers: list[Reader] = []
        self.makers: list[Maker] = []
        self.shifts: list[Shift] = []
        self.count = 1
        self.insert = insert
        self._pinned: list[np.ndarray] = [np.array([UNSCALED])]
        self._ties: list[tuple[np.ndarray, np.ndarray]] = []

    def fresh(self, shape: tuple[int, ...]) -> np.ndarray:
        """New numbers."""
        first, self.count = self.count, self.count + int(np.prod(shape))
        return np.arange(first, self.count, dtype=np.int64).reshape(shape)

    def of(self, tensor: gs.Tensor) -> np.ndarray | None:
        """The numbers of a tensor; None for constants and where it has none."""
        return self.ids.get(tensor.name)

    def pin(self, tensor: gs.Tensor) -> None:
        """Leaves the channels of a tensor as they are."""
        numbers = self.ids.get(tensor.name)
        if numbers is not None:
            self._pinned.append(numbers.reshape(-1))

    def tie(self, one: np.ndarray, other: np.ndarray) -> None:
        """Gives channels one factor; the arrays broadcast to one another."""
        a, b = np.broadcast_arrays(one, other)
        self._ties.append((a.reshape(-1), b.reshape(-1)))

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor depends on no graph input."""
        return self.around.constants.is_constant(tensor)

    def labels(self) -> np.ndarray:
        """Per number, the smallest number with the same factor."""
        return joined(self.count, self._ties)

    def pinned(self, labels: np.ndarray) -> np.ndarray:
        """Per number, whether its factor must be 1."""
        fixed = np.zeros(self.count, dtype=bool)
        for numbers in self._pinned:
            fixed[labels[numbers]] = True
        found: np.ndarray = fixed[labels]
        return found
