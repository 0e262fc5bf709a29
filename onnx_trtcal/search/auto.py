"""Method `auto`: the thresholds that together disturb the network's outputs least, found by running it.

1. The other methods are compared as whole assignments: all tensors and weights in INT8, on up to a few hundred samples.
2. For every tensor that an INT8 kernel reads, the network runs with this one tensor quantized and everything else in
   floating point, for a few thresholds: nothing else makes noise, so that few samples show which is best (`valley`).
   Errors of different tensors add up nearly independently, so the best threshold of each is near the best of all.
3. What the tensors say together is compared with the best method, then changed as a whole and tensor by tensor, with
   everything in INT8. A change is kept where the error falls on the samples that chose it and on those held back.

4. Tensors of which few values were seen get headroom for larger ones (`headroom`). Samples that were seen cannot
   show what that is worth, so nothing is compared.

So on the samples compared no method alone is better than (3), and it is taken only if the best method is no better on
a few more samples, which nothing was searched on. The error is that of the blocks of the outputs, each
relative to its own power. Each tensor of (2) is a step and each change of (3) is one; steps that exceed the budget are
left out.

Tensors that no INT8 kernel reads, such as outputs of the network, are left to the fallback.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.methods import Chosen
from onnx_trtcal.methods.score import score
from onnx_trtcal.search.assignment import Assignment, Group, share_of_amax
from onnx_trtcal.search.headroom import headroom
from onnx_trtcal.search.setup import Setup, set_up
from onnx_trtcal.search.valley import lowest, lowest_for_all, walk_down
from onnx_trtcal.search.workers import Workers
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.search.referee import Contender
    from onnx_trtcal.search.task import Task
    from onnx_trtcal.support.progress import Listener

__all__ = ["METHODS_TRIED", "solve"]

METHODS_TRIED = ("mse", "minmax", "entropy", "percentile:99.99", "percentile:99.999")
_START = "mse"
_NUDGE = 0.25  # octaves
# A gain of less than a fortieth over what is there may be luck.
_CLEARLY = 0.975
_PROPOSALS = 4
_MOST_PASSES = 8


def solve(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the network's outputs.

    At most ten runs of the network for every sample that was calibrated with, unless a number of steps or a time is
    given. The result depends on the model, the samples and the number of steps, not on threads or the machine's speed.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    found = task.fallback()
    with Workers(task.session_options[1]) as workers:
        setup = set_up(task, workers, METHODS_TRIED)
        if setup is None:
            return found
        task.listener.say(
            f"auto: {many(len(setup.groups), 'tensor')}, on {many(len(task.samples), 'sample')}; "
            f"each alone on {setup.lone_count}"
        )
        with task.listener.progress(setup.steps.expected, "searching") as advance:
            setup.steps.report_to(advance)
            best, beginning = _search(setup)
        task.steps_done(setup.steps.done)
    task.listener.say(
        f"auto: {many(setup.steps.done, 'step')} ({setup.steps.used:.0f} runs of the model; --steps {setup.steps.done} "
        f"repeats the result); {_decibels(setup, best)} dB at the outputs, "
        f"{beginning.name} {_decibels(setup, beginning)} dB"
    )
    assignment = _with_headroom(setup, best.assignment, task.listener)
    found.update({name: chosen for names, chosen in assignment.items() for name in names})
    return found


def _with_headroom(setup: Setup, assignment: Assignment, listener: Listener) -> Assignment:
    """Thresholds as the same share of the largest magnitude to expect as they were of the largest one seen."""
    found = dict(assignment)
    for names, chosen in assignment.items():
        factor = headroom(setup.histograms[names[0]])
        if factor > 1 and not setup.lattice_thresholds(names):
            found[names] = share_of_amax(chosen.threshold * factor, setup.assignments.amax[names], factor)
    if raised := sum(found[names] is not chosen for names, chosen in assignment.items()):
        listener.say(
            f"auto: headroom above the largest magnitude for {raised} tensors of which few values were seen"
        )
    return found


def _search(setup: Setup) -> tuple[Contender, Contender]:
    """The best assignment, and the best that one method makes."""
    beginning = setup.referee.best_of(setup.by_method)
    lone = _lone_thresholds(setup)
    if not lone:
        return beginning, beginning
    make, start = setup.assignments, beginning.assignment
    plain: Assignment = {**start, **{names: each.on_few for names, each in lone.items()}}
    cautious: Assignment = {**start, **{names: each.on_all for names, each in lone.items()}}
    proposals = {
        "each tensor alone": plain,
        "each tensor alone, clipping as on all samples": cautious,
        "halfway to each tensor alone": make.between(start, plain),
        "halfway, clipping as on all samples": make.between(start, cautious),
    }
    best = setup.referee.elect(beginning, proposals)
    # The tensors that disturb most come first.
    order = sorted(lone, key=lambda names: -lone[names].error)
    best = _refine(setup, best, cautious, order)
    clear = setup.referee.error(best) <= _CLEARLY * setup.referee.error(beginning)
    taken = clear and setup.referee.confirmed(best, beginning)
    return best if taken else beginning, beginning


@dataclass(frozen=True)
class _Lone:
    """The best thresholds of a tensor alone, and the error that is left with it."""

    on_few: Chosen
    on_all: Chosen
    error: float


def _lone_thresholds(setup: Setup) -> dict[Group, _Lone]:
    """What each tensor that there are steps for says alone."""
    found: dict[Group, _Lone] = {}
    start = setup.by_method[_START]
    worst_first = sorted(
        setup.groups, key=lambda names: score(setup.histograms[names[0]], start[names].threshold).sqnr
    )
    reserve = setup.referee.whole_cost(_PROPOSALS) + setup.referee.confirming_cost
    for names in worst_first:
        if not setup.steps.another(setup.lone_cost(names), reserve):
            break
        amax, threshold = setup.assignments.amax[names], start[names].threshold
        most = math.log2(amax / threshold)
        curve = _curve(setup, names, threshold, most)
        if max(curve.values()) <= 0:
            continue  # no output depends on it
        few = lowest(curve)
        everywhere = lowest_for_all(curve, partial(setup.clipped, names, threshold), most)
        on_few, on_all = (
            share_of_amax(threshold * 2.0**place, amax) if place else start[names]
            for place in (few, everywhere)
        )
        error = min(curve.values())
        on_lattice = _on_lattice(setup, names)
        if on_lattice and min(on_lattice.values()) < _CLEARLY * error:
            exact = min(on_lattice, key=lambda each: on_lattice[each])
            on_few = on_all = Chosen(float(np.float32(exact)), f"amax*{exact / amax:.4g}")
            error = on_lattice[exact]
        found[names] = _Lone(on_few, on_all, error)
    return found


def _curve(setup: Setup, names: Group, threshold: float, most: float) -> dict[float, float]:
    """Octaves above the threshold -> the error with the tensor alone quantized so."""
    key = f"tensor {names[0]}"
    known = setup.journal.holds(key)

    def measure() -> list[list[float]]:
        errors_at = setup.lone_errors(names)
        curve = walk_down(lambda places: errors_at([threshold * 2.0**place for place in places]), most)
        return [list(each) for each in curve.items()]

    curve: Mapping[float, float] = dict(setup.journal.recall(key, measure))
    setup.steps.spend(setup.lone_runs(names, len(curve)), measured=not known)
    return dict(curve)


def _on_lattice(setup: Setup, names: Group) -> dict[float, float]:
    """Threshold -> error, for thresholds that meet the values of an input exactly; empty where none do."""
    thresholds = setup.lattice_thresholds(names)
    key = f"lattice of {names[0]}"
    known = setup.journal.holds(key)
    if not thresholds:
        return {}
    errors = setup.journal.recall(
        key, lambda: [float(error) for error in setup.lone_errors(names)(thresholds)]
    )
    setup.steps.spend(setup.lone_runs(names, len(thresholds)), measured=not known)
    return dict(zip(thresholds, errors, strict=True))


def _refine(setup: Setup, best: Contender, together: Assignment, order: Sequence[Group]) -> Contender:
    """Changes the assignment while that helps and there are steps left."""
    for number in range(_MOST_PASSES):
        before = best
        for name, names in _changes(order):
            proposals = _proposals(setup, best, together, names)
            if not proposals:
                continue
            reserve = setup.referee.confirming_cost
            if not setup.steps.another(setup.referee.cost(len(proposals)), reserve):
                return best
            best = setup.referee.challenge(f"pass {number}, {name}", best, proposals)
        if best is before:
            break
    return best


def _changes(order: Sequence[Group]) -> Iterator[tuple[str, Group]]:
    """What is changed by one step: all thresholds, named by an empty group, then one after the other."""
    # A tensor may be called `all`, too.
    return itertools.chain([("all", ())], ((f"tensor {names[0]}", names) for names in order))


def _proposals(setup: Setup, best: Contender, together: Assignment, names: Group) -> dict[str, Assignment]:
    make, now = setup.assignments, best.assignment
    if not names:
        found = {
            "all larger": make.moved(now, _NUDGE),
            "all smaller": make.moved(now, -_NUDGE),
            "in between": make.between(setup.by_method[_START], together),
        }
    else:
        threshold, amax = now[names].threshold, make.amax[names]
        changed = (
            share_of_amax(threshold * 2.0**_NUDGE, amax),
            share_of_amax(threshold * 2.0**-_NUDGE, amax),
            together[names],
        )
        found = {f"{names[0]} {chosen.candidate}": {**now, names: chosen} for chosen in changed}
    thresholds = [chosen.threshold for chosen in now.values()]
    return {
        name: each
        for name, each in found.items()
        if [chosen.threshold for chosen in each.values()] != thresholds
    }


def _decibels(setup: Setup, contender: Contender) -> str:
    error = setup.referee.error(contender)
    return f"{-10 * math.log10(error):.1f}" if error > 0 else "inf"
