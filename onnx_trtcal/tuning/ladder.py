"""What is tried and in which order: what costs the engine nothing first, layers in floating point last.

A method and the rounding of weights cost no time in the engine, nor do factors that go into weights; a per-channel Mul
may move more bytes; a layer in floating point is slower.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_trtcal.tuning.float_layers import keep_layers
from onnx_trtcal.tuning.setting import Setting

if TYPE_CHECKING:
    from onnx_trtcal.tuning.step import Step
    from onnx_trtcal.tuning.trials import Trials

__all__ = ["climb"]

_FROM_HISTOGRAMS = ("mse", "percentile", "entropy", "minmax")
"""Tried first: one run over the data gives all of them."""
_CLEARLY = 0.8
"""Evened out channels leave so much of a cheap method's noise at most where a search on them is worth its time: it wins
back the better part of what they gain otherwise."""


def climb(trials: Trials) -> None:
    """Tries one step after the other until the target is met or nothing is left to try.

    Raises:
        OutOfTimeError: the budget is used up; `trials` has the best so far.
        CalibrationError: one of its family.
    """
    if _methods(trials) or _channels(trials, "free") or _rounding(trials) or _channels(trials, "full"):
        return
    keep_layers(trials)


def _methods(trials: Trials) -> bool:
    for number, method in enumerate(_FROM_HISTOGRAMS):
        if _reached(trials, Setting(method)):
            return True
        if number == 0:
            trials.say_what_follows()
    return trials.has_time_for("auto") and _reached(trials, Setting("auto"))


def _channels(trials: Trials, level: str) -> bool:
    """Equalization, by the best method and by the best of another kind: evened out, ranges ask for other thresholds.

    The best method that reads histograms goes first: where it gains little, a search is not worth its time.
    """
    best = _best(trials).setting
    cheap = Setting(_plain_method(trials), equalize=level)
    if _reached(trials, cheap):
        return True
    if not _gains(trials, cheap, replace(cheap, equalize=best.equalize)):
        return False
    if _reached_anew(trials, replace(best, equalize=level)):
        return True
    if _best(trials).setting.equalize != level:
        return False
    other = _plain_method(trials) if best.method == "auto" else "auto"
    if not trials.has_time_for(other):
        return False
    return _reached_anew(trials, replace(_best(trials).setting, method=other))


def _rounding(trials: Trials) -> bool:
    return _reached(trials, replace(_best(trials).setting, round=True))


def _plain_method(trials: Trials) -> str:
    """The best method that reads histograms."""
    plain = [step for step in trials.steps if step.setting.method in _FROM_HISTOGRAMS]
    return min(plain, key=lambda step: step.score.rank).setting.method


def _gains(trials: Trials, setting: Setting, before: Setting) -> bool:
    """Whether a setting came to clearly more than another one; not where it could not be tried."""
    new, old = trials.step_of(setting), trials.step_of(before)
    if new is None or old is None:
        return new is not None
    return new.score.rank < old.score.rank and new.score.noise <= _CLEARLY * old.score.noise


def _reached_anew(trials: Trials, setting: Setting) -> bool:
    """As `_reached`, for a setting that may have been tried."""
    return trials.met if trials.step_of(setting) else _reached(trials, setting)


def _reached(trials: Trials, setting: Setting) -> bool:
    """Whether the target is met with this setting, or was before."""
    trials.attempt_or_skip(setting)
    return trials.met


def _best(trials: Trials) -> Step:
    assert trials.best is not None
    return trials.best
