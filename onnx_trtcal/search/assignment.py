"""A threshold for every tensor that a search decides about, and the scales of all pairs that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.methods import Chosen, parse_method
from onnx_trtcal.qdq.write.pair_scales import pair_scales
from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.search.task import Task

__all__ = ["Assignment", "Assignments", "Group", "share_of_amax"]

Group = tuple[str, ...]
"""Observed tensors that share a threshold."""
Assignment = dict[Group, Chosen]

_STAND_IN = "mse"


class Assignments:
    """Makes assignments, and says which scales they give.

    Args:
        task: what is to be solved.
        groups: what is decided about.
    """

    def __init__(self, task: Task, groups: tuple[Group, ...]) -> None:
        self._task = task
        self.groups = groups
        self.amax = {names: task.histograms[names[0]].amax for names in groups}
        decided = {name for names in groups for name in names}
        # What other methods choose for the tensors that are not decided about here.
        self._others = {
            name: (method if method.needs == "histogram" else parse_method(_STAND_IN)).solve(
                task.histograms[name]
            )
            for name, method in task.prepared.methods.items()
            if name not in decided
        }

    def by_method(self, text: str) -> Assignment:
        """Every threshold by one method."""
        method = parse_method(text)
        histograms = self._task.histograms
        return {names: Chosen(method.solve(histograms[names[0]]), text) for names in self.groups}

    def moved(self, assignment: Assignment, octaves: float) -> Assignment:
        """Every threshold times a power of two, and the largest magnitude at most."""
        factor = 2.0**octaves
        return {
            names: share_of_amax(chosen.threshold * factor, self.amax[names])
            for names, chosen in assignment.items()
        }

    def between(self, one: Assignment, other: Assignment) -> Assignment:
        """The geometric means of the thresholds."""
        return {
            names: share_of_amax(
                float(np.sqrt(chosen.threshold) * np.sqrt(other[names].threshold)), self.amax[names]
            )
            for names, chosen in one.items()
        }

    def scales(self, assignment: Mapping[Group, Chosen]) -> dict[str, float]:
        """Tensor with a pair -> its scale, as a Q/DQ model has it."""
        thresholds = dict(self._others)
        thresholds.update({name: chosen.threshold for names, chosen in assignment.items() for name in names})
        plan, placement = self._task.prepared.plan, self._task.placement
        scales = {}
        for activation in placement.activations:
            owner = plan.owners[activation.tensor]
            known = plan.constants if owner.reason == "constant" else thresholds
            scales[activation.tensor] = to_scale(known[owner.source])
        return pair_scales(placement, scales)


def share_of_amax(threshold: float, amax: float, most: float = 1.0) -> Chosen:
    """A threshold under the name `amax*0.8123` that gives it back.

    Args:
        threshold: the threshold.
        amax: the largest magnitude.
        most: the largest share of it that the threshold may be.
    """
    share = min(float(f"{threshold / amax:.4g}"), most)
    found = float(np.float32(min(amax * share, float(np.finfo(np.float32).max))))
    return Chosen(found, "minmax" if share == 1 else f"amax*{share:.4g}")
