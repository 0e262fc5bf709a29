"""Which layers stay in floating point: ranked by what INT8 does there, as few as the target needs.

Groups are ranked by gain per cost: the share of the noise in the outputs that a group makes alone, over what it costs
in floating point. How many of them it takes is found by bisection; then those that turn out not to be needed go back to
INT8, the dearest first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.tuning.layer_ranking import Candidate, rank_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_trtcal.tuning.setting import Setting
    from onnx_trtcal.tuning.trials import Trials

__all__ = ["fewest", "keep_layers", "without_idle"]

_PUT_BACK = 8
"""So many groups are tried in INT8 again, one after the other."""
_ATTEMPTS = 3
"""So often more groups are kept, where equalization and rounding, done anew, come to less than was estimated."""


def keep_layers(trials: Trials) -> None:
    """Keeps layers in floating point until the target is met, as far as the request allows.

    Raises:
        OutOfTimeError: the budget is used up.
        CalibrationError: one of its family.
    """
    assert trials.best is not None
    base = trials.best.setting
    order = _affordable(trials, base)
    if not order:
        return
    target = trials.request.max_drop

    def meets(chosen: Sequence[Candidate]) -> bool:
        return trials.estimate(base, tuple(each.pattern for each in chosen)).meets(target)

    count = fewest(len(order), lambda count: meets(order[:count]))
    chosen = order[:count]
    if meets(chosen):
        chosen = without_idle(chosen, meets)
    for _ in range(_ATTEMPTS):
        kept = tuple(each.pattern for each in order if each in chosen)
        step = trials.attempt(replace(base, exclude=(*base.exclude, *kept)))
        others = [each for each in order if each not in chosen]
        if step.score.meets(target) or not others:
            return
        chosen = [*chosen, *others[: 1 + len(chosen) // 4]]


def _affordable(trials: Trials, base: Setting) -> list[Candidate]:
    """The ranked groups that fit, one after the other, into what may stay in floating point."""
    share, layers, found = 0.0, 0, []
    for each in rank_layers(trials, base):
        if trials.affords(share + each.share, layers + each.layers):
            share, layers = share + each.share, layers + each.layers
            found.append(each)
    return found


def fewest(most: int, meets: Callable[[int], bool]) -> int:
    """The fewest that do, by doubling and bisection; `most` where that many do not.

    Args:
        most: how many there are.
        meets: whether the target is met with so many of the first ones.
    """
    below, count = 0, 1
    while count < most and not meets(count):
        below, count = count, 2 * count
    above = min(count, most)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if meets(middle) else (middle, above)
    return above


def without_idle(
    chosen: Sequence[Candidate], meets: Callable[[Sequence[Candidate]], bool]
) -> list[Candidate]:
    """The groups without those that the target does not need; the dearest are tried first."""
    kept = list(chosen)
    for each in sorted(chosen, key=lambda one: (-one.cost, one.gain))[:_PUT_BACK]:
        rest = [one for one in kept if one is not each]
        if rest and meets(rest):
            kept = rest
    return kept
