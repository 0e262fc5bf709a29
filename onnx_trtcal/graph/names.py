"""Names for what is added to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_graphsurgeon as gs

__all__ = ["Names", "names_in"]


class Names:
    """Names that are taken, and those given out since.

    Args:
        taken: the names that a new one must differ from.
        first: the number that the first variant of a taken name gets.
    """

    def __init__(self, taken: Iterable[str], first: int = 1) -> None:
        self._taken = set(taken)
        self._first = first

    def fresh(self, wanted: str) -> str:
        """The wanted name, or the first of its numbered variants that is new; taken from now on."""
        name, number = wanted, self._first
        while name in self._taken:
            name = f"{wanted}_{number}"
            number += 1
        self._taken.add(name)
        return name


def names_in(graph: gs.Graph) -> set[str]:
    """The names of all tensors and nodes of a graph, subgraphs included."""
    found: set[str] = set()
    for part in (graph, *graph.subgraphs(recursive=True)):
        found.update(tensor.name for tensor in (*part.inputs, *part.outputs))
        for node in part.nodes:
            found.add(node.name)
            found.update(tensor.name for tensor in (*node.inputs, *node.outputs))
    return found - {""}
