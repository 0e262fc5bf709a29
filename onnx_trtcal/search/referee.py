"""Compares whole assignments on samples to fit to and on samples held back, all tensors and weights in INT8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.search.objective import relative_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.assignment import Assignment, Assignments
    from onnx_trtcal.search.paired_network import PairedNetwork
    from onnx_trtcal.search.steps import Journal, Steps
    from onnx_trtcal.search.subgraph_runner import Feeds
    from onnx_trtcal.search.variants import VariantMeter

__all__ = ["Contender", "Referee"]

# A smaller gain is not worth a change.
_LEAST_GAIN = 0.002


@dataclass(frozen=True)
class Contender:
    """An assignment and its error power per block, added up over the samples of either half.

    Attributes:
        name: what it came from.
        assignment: a threshold for every group.
        fit: float64[blocks].
        held_back: float64[blocks].
    """

    name: str
    assignment: Assignment
    fit: np.ndarray
    held_back: np.ndarray


class Referee:
    """Measures assignments, and decides which of two is better.

    Samples are dealt to the two halves in turn, in the order of their content hashes; those that are left confirm.

    Args:
        network: the whole network, with all its pairs.
        meter: compares outputs.
        assignments: says which scales an assignment gives.
        samples: one feed per sample, by rising hash.
        journal: remembers what was measured.
        steps: counts the runs.
        compared: so many samples, from the first on, are searched on.
    """

    def __init__(
        self,
        network: PairedNetwork,
        meter: VariantMeter,
        assignments: Assignments,
        samples: Sequence[Feeds],
        journal: Journal,
        steps: Steps,
        *,
        compared: int,
    ) -> None:
        self._network, self._meter, self._assignments = network, meter, assignments
        self._samples, self._journal, self._steps = samples, journal, steps
        self._compared = compared
        self.fit = range(0, compared, 2)
        self.held_back = range(1, compared, 2)
        self.fresh = range(compared, len(samples))
        self._signals = [meter.signal(half).sum(0) for half in (self.fit, self.held_back)]

    def best_of(self, named: Mapping[str, Assignment]) -> Contender:
        """The assignment with the least error on all samples.

        One that is known to be worse from the first half alone is not run on the other.
        """
        distinct: dict[str, Assignment] = {}
        for name, assignment in named.items():
            thresholds = [chosen.threshold for chosen in assignment.values()]
            if all(
                thresholds != [chosen.threshold for chosen in other.values()] for other in distinct.values()
            ):
                distinct[name] = assignment
        names = list(distinct)
        fit = dict(
            zip(
                names, self._noise("methods, first half", [distinct[n] for n in names], self.fit), strict=True
            )
        )
        first = min(names, key=lambda name: self._error(fit[name], self._signals[0]))
        held = {first: self._noise(f"{first}, second half", [distinct[first]], self.held_back)[0]}
        least = self._error(fit[first] + held[first], sum(self._signals))
        # With no error at all on the second half they would be this far off on both together.
        rivals = [
            name for name in names if name != first and self._error(fit[name], sum(self._signals)) < least
        ]
        if rivals:
            more = self._noise("rivals, second half", [distinct[name] for name in rivals], self.held_back)
            held.update(zip(rivals, more, strict=True))
        found = [Contender(name, distinct[name], fit[name], held[name]) for name in names if name in held]
        return min(found, key=self.error)

    def elect(self, best: Contender, proposals: Mapping[str, Assignment]) -> Contender:
        """The proposal with the least error on all samples among those that are better on the second half.

        Args:
            best: what there is, which stays where no proposal is.
            proposals: name -> assignment.
        """
        names = list(proposals)
        halves = [
            self._noise(f"together, {which} half", [proposals[name] for name in names], samples)
            for which, samples in (("first", self.fit), ("second", self.held_back))
        ]
        found = [
            Contender(name, proposals[name], fit, held_back)
            for name, fit, held_back in zip(names, *halves, strict=True)
        ]
        better = [
            each
            for each in found
            if self._error(each.held_back, self._signals[1]) <= self._error(best.held_back, self._signals[1])
        ]
        return min([best, *better], key=self.error)

    def challenge(self, step: str, best: Contender, proposals: dict[str, Assignment]) -> Contender:
        """The best of some proposals, where it is better than what there is on both halves and on all samples.

        Args:
            step: the step's name in the journal.
            best: what there is.
            proposals: name -> assignment, at least one.
        """
        names = list(proposals)
        fit = self._noise(f"{step}, first half", [proposals[name] for name in names], self.fit)
        errors = [self._error(noise, self._signals[0]) for noise in fit]
        at = int(np.argmin(errors))
        if errors[at] > (1 - _LEAST_GAIN) * self._error(best.fit, self._signals[0]):
            return best
        chosen = proposals[names[at]]
        held_back = self._noise(f"{step}, second half", [chosen], self.held_back)[0]
        if self._error(held_back, self._signals[1]) > self._error(best.held_back, self._signals[1]):
            return best
        found = Contender(names[at], chosen, fit[at], held_back)
        return found if self.error(found) < self.error(best) else best

    def cost(self, proposals: int) -> float:
        """How many runs `challenge` takes at most."""
        return float(proposals * len(self.fit) + len(self.held_back))

    def whole_cost(self, proposals: int) -> float:
        """How many runs it takes to compare so many assignments on all samples."""
        return float(proposals * self._compared)

    def confirmed(self, best: Contender, beginning: Contender) -> bool:
        """Whether the best is no worse than the beginning on the samples that nothing was searched on."""
        if not self.fresh:
            return True
        signal = self._meter.signal(self.fresh).sum(0)
        both = [best.assignment, beginning.assignment]
        found, before = (self._error(each, signal) for each in self._noise("confirmed", both, self.fresh))
        return found <= before

    @property
    def confirming_cost(self) -> float:
        """How many runs `confirmed` takes."""
        return 2.0 * len(self.fresh)

    def error(self, contender: Contender) -> float:
        """The relative error on all samples, the mean over the blocks."""
        return self._error(contender.fit + contender.held_back, sum(self._signals))

    def _noise(self, name: str, assignments: Sequence[Assignment], samples: range) -> np.ndarray:
        """float64[assignments, blocks], added up over the samples."""
        runs = len(assignments) * len(samples)
        self._steps.spend(runs, measured=not self._journal.holds(name))

        def measure() -> list[list[float]]:
            scales = [self._assignments.scales(each) for each in assignments]
            noise = self._meter.noise(self._network, scales, samples, self._samples.__getitem__)
            found: list[list[float]] = noise.sum(1).tolist()
            return found

        return np.array(self._journal.recall(name, measure)).reshape(len(assignments), -1)

    @staticmethod
    def _error(noise: np.ndarray, signal: np.ndarray) -> float:
        return float(relative_error(noise[None], signal[None]))
