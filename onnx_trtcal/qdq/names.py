"""Names for what is added to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["Names"]


class Names:
    """The names that a graph's tensors and nodes have, and those given out since."""

    def __init__(self, graph: gs.Graph) -> None:
        self._taken = set(graph.tensors()) | {node.name for node in graph.nodes}

    def fresh(self, wanted: str) -> str:
        """The wanted name, or with the first number behind it that makes it new; taken from now on."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name
