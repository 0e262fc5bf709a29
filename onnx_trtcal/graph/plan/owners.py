"""From every tensor to its owner: the observed tensor whose scale it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.view import Links, kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.graph.propagate import ScaleRules

__all__ = ["Owner", "Resolver", "concat_branches"]


@dataclass(frozen=True)
class Owner:
    """Whose scale a tensor takes.

    Attributes:
        source: the observed tensor; the tensor itself when it is a constant.
        reason: "measured" (it is its own source), "group" (it vanishes inside a kernel), "tie" (the source
            holds the same values), "pool" (a max pooling takes its input's scale), "folded" (it vanished in
            folding), "concat" (its branches are its values), or "constant". Of a tensor that only NVIDIA's parser
            names, "alias" (the source holds the same values) or "bound" (the op keeps it within one).
    """

    source: str
    reason: str


class Resolver:
    """Follows every tensor to its owner.

    Args:
        rules: whose scale each tensor of the graph that runs takes.
        vanished: tensors of the original that folding removed -> the tensor that stands for each.
        constants: tensors that depend on no input.
        skipped: tensors without a scale: nothing takes theirs.
    """

    def __init__(
        self,
        rules: ScaleRules,
        vanished: Mapping[str, str],
        constants: Mapping[str, float],
        skipped: Mapping[str, str],
    ) -> None:
        self.rules = rules
        self.vanished = vanished
        self.constants = constants
        self.skipped = skipped
        self.concat: dict[str, str] = {}
        self.joined: list[tuple[str, ...]] = []

    def step(self, name: str) -> tuple[str, str] | None:
        """The tensor whose scale this one takes, and why; None for one that is measured."""
        if name in self.vanished:
            return self.vanished[name], "folded"
        if name in self.rules.inner:
            return self.rules.step(name)
        if name in self.concat:
            return self.concat[name], "concat"
        step = self.rules.step(name)
        return step if step and step[0] not in self.skipped else None

    def owner(self, name: str) -> Owner:
        """The owner in the end, and why the tensor itself has no scale of its own."""
        source, reason = name, "measured"
        while source not in self.constants:
            step = self.step(source)
            if step is None:
                return Owner(source, reason)
            reason = step[1] if source == name else reason
            source = step[0]
        return Owner(source, "constant")

    def tie_concats(self) -> None:
        """Ties every Concat's branches, and its output where the branches hold all of its values."""
        fixed = self.rules.links.constants | self.skipped.keys()
        for output, branches in concat_branches(self.rules.links):
            measured = [name for name in branches if name not in fixed]
            if output in fixed or not measured:
                continue
            if len(measured) == len(branches):
                self.concat[output] = measured[0]
            else:
                measured.append(output)
            self.joined.append(tuple(measured))

    def ties(self, observed: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """The sets of observed tensors that `tie_concats` ties, each in observed order."""
        leader = {name: name for name in observed}

        def find(name: str) -> str:
            while leader[name] != name:
                leader[name] = name = leader[leader[name]]
            return name

        for names in self.joined:
            sources = [source for name in names if (source := self.owner(name).source) in leader]
            for source in sources[1:]:
                leader[find(source)] = find(sources[0])
        sets: dict[str, list[str]] = {}
        for name in observed:
            sets.setdefault(find(name), []).append(name)
        return tuple(tuple(names) for names in sets.values() if len(names) > 1)


def concat_branches(links: Links) -> list[tuple[str, tuple[str, ...]]]:
    """Every Concat: its output and its inputs, in topological order."""
    return [
        (node.outputs[0].name, tuple(t.name for t in node.inputs if t.name))
        for node in links.nodes
        if kind(node) == "Concat"
    ]
