"""From every tensor to the one that answers for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.plan.ties import concat_branches, tied_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.graph.constants import Constants
    from onnx_trtcal.graph.view import Links

__all__ = ["Answer", "Resolver"]


@dataclass(frozen=True)
class Answer:
    """Whose scale a tensor takes.

    Attributes:
        source: the observed tensor that answers; the tensor itself when it is a constant.
        how: "measured" (it is its own source), "group" (it vanishes inside a kernel), "tie" (the source holds
            the same values), "pool" (a max pooling takes its input's scale), "folded" (it vanished in
            folding), "concat" (its branches are its values), or "constant".
    """

    source: str
    how: str


class Resolver:
    """Follows every tensor to the one that answers for it."""

    def __init__(
        self,
        links: Links,
        values: Constants,
        inner: Mapping[str, str],
        vanished: Mapping[str, str],
        constants: Mapping[str, float],
        skipped: Mapping[str, str],
    ) -> None:
        self.links = links
        self.values = values
        self.inner = inner
        self.vanished = vanished
        self.constants = constants
        self.skipped = skipped
        self.concat: dict[str, str] = {}
        self.together: list[tuple[str, ...]] = []

    def step(self, name: str) -> tuple[str, str] | None:
        """The tensor that answers for this one directly, and how; None for one that is measured."""
        if name in self.vanished:
            return self.vanished[name], "folded"
        if name in self.inner:
            return self.inner[name], "group"
        if name in self.concat:
            return self.concat[name], "concat"
        tie = tied_to(self.links, self.values, name)
        return tie if tie and tie[0] not in self.skipped else None

    def answer(self, name: str) -> Answer:
        """Who answers in the end, and how the tensor itself leads there."""
        source, how = name, "measured"
        while source not in self.constants:
            step = self.step(source)
            if step is None:
                return Answer(source, how)
            how = step[1] if source == name else how
            source = step[0]
        return Answer(source, "constant")

    def tie_concats(self) -> None:
        """Ties every Concat's branches, and its output where the branches hold all of its values."""
        fixed = self.links.constants | self.skipped.keys()
        for output, branches in concat_branches(self.links):
            measured = [name for name in branches if name not in fixed]
            if output in fixed or not measured:
                continue
            if len(measured) == len(branches):
                self.concat[output] = measured[0]
            else:
                measured.append(output)
            self.together.append(tuple(measured))

    def merged(self, observed: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """The sets of observed tensors that tied Concats join, each in observed order."""
        leader = {name: name for name in observed}

        def find(name: str) -> str:
            while leader[name] != name:
                leader[name] = name = leader[leader[name]]
            return name

        for names in self.together:
            sources = [source for name in names if (source := self.answer(name).source) in leader]
            for source in sources[1:]:
                leader[find(source)] = find(sources[0])
        sets: dict[str, list[str]] = {}
        for name in observed:
            sets.setdefault(find(name), []).append(name)
        return tuple(tuple(names) for names in sets.values() if len(names) > 1)
