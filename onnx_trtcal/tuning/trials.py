"""Makes the Q/DQ model of a setting, scores it, notes what came out, and remembers the best."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.improve.equalize.equalize import equalize, full_inserts
from onnx_trtcal.improve.equalize.quiet import Quiet
from onnx_trtcal.methods.stand_ins import without_search
from onnx_trtcal.pipeline import calibrate_again, calibrate_for
from onnx_trtcal.prepared import prepare
from onnx_trtcal.quantization import quantize_calibrated, quantize_equalized, requantized, rounded
from onnx_trtcal.scales import unseen_warnings
from onnx_trtcal.support.wording import duration
from onnx_trtcal.tuning.clock import StepListener
from onnx_trtcal.tuning.cost import compiler_missing, cost_of, engine_of
from onnx_trtcal.tuning.score import Score
from onnx_trtcal.tuning.step import Step, amount, figure_and_drop

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.support.progress import Listener
    from onnx_trtcal.tuning.clock import Clock
    from onnx_trtcal.tuning.notes import Notes
    from onnx_trtcal.tuning.options import TuneOptions
    from onnx_trtcal.tuning.scorer import Scorer
    from onnx_trtcal.tuning.setting import Setting

__all__ = ["Trials"]

_SEARCH_RUNS = 12
"""A search takes about ten runs over the data for the one that collects histograms, and something around them."""
_RUNS_TO_FOLLOW, _STEPS_TO_FOLLOW = 5 * _SEARCH_RUNS, 9
"""After the first step: three searches, rounding twice, and all that is scored, before any layer stays in float."""
_SEARCHED = ("auto", "easyquant")
"""Methods that run the model: they are given the data, and not the histograms of a run before."""
_COUNTED_UNDER = "mse"
"""The method, of those that read histograms, that the one run over the data is for."""


class Trials:
    """Every step of a run.

    Args:
        model: the float model.
        data: what to calibrate on.
        request: the target and the options that all steps share.
        scorer: scores models.
        notes: what an earlier run found out, and this one.
        clock: the budget.
        listener: receives a line per step.

    Attributes:
        steps: what was done, in order.
        best: the best of them; None before the first.
    """

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        data: Any,
        request: TuneOptions,
        scorer: Scorer,
        notes: Notes,
        clock: Clock,
        listener: Listener,
    ) -> None:
        self.request = request
        self.scorer = scorer
        self.notes = notes
        self.clock = clock
        self.listener = StepListener(listener, clock)
        self.steps: list[Step] = []
        self.best: Step | None = None
        self._model = model
        self._data = data
        self._told = listener
        self._last: tuple[Setting, Quantization] | None = None
        self._of_best: tuple[Setting, Quantization] | None = None
        # What rounding, and layers in floating point, begin with.
        self._of_search: tuple[Setting, Quantization] | None = None
        self._collecting = 0.0
        self._counted: Calibration | None = None
        # Settings whose equalization leaves the model as it is.
        self._as_it_was: set[Setting] = set()
        # By the nodes in floating point, whether level `full` has anything to insert.
        self._inserting: dict[tuple[str, ...], bool] = {}
        self._scores: dict[str, Score] = {}
        self._compiles = request.compile
        if self._compiles and (missing := compiler_missing()):
            listener.say(missing)
            self._compiles = False

    @property
    def met(self) -> bool:
        """Whether the best step meets the target."""
        return self.best is not None and self.best.score.meets(self.request.max_drop)

    def step_of(self, setting: Setting) -> Step | None:
        """The step that tried a setting; None where none did."""
        return next((step for step in self.steps if step.setting == setting), None)

    def attempt(self, setting: Setting) -> Step:
        """Tries a setting, or takes what an earlier run noted of it.

        Raises:
            OutOfTimeError: the budget is used up.
            CalibrationError: one of its family.
        """
        self.clock.check()
        step = Step.of(self.notes.once(f"step: {setting}", lambda: self._tried(setting).record()))
        better = self.best is None or step.score.rank < self.best.score.rank
        self.steps.append(step)
        self._told.say(self._line(step, better=better))
        if better:
            self.best = step
            self._of_best = self._last if self._last and self._last[0] == setting else None
        self._scores[step.digest] = step.score
        self.clock.armed = True
        return step

    def attempt_or_skip(self, setting: Setting) -> None:
        """Tries a setting; one that cannot be done here is left out, unless nothing is done yet.

        Raises:
            OutOfTimeError: the budget is used up.
            CalibrationError: there is no step to fall back on.
        """
        try:
            self.attempt(setting)
        except CalibrationError as error:
            if self.best is None:
                raise
            self._told.say(f"- {setting.name}: left out: {error.what}")

    def affords(self, share: float, layers: int) -> bool:
        """Whether so much may stay in floating point beside what the best step leaves there.

        Args:
            share: of the model's multiply-adds.
            layers: how many layers.
        """
        request, there = self.request, self.best.cost.share if self.best else 0.0
        fits = request.max_layers is None or layers <= request.max_layers
        return fits and there + share <= request.max_float + 1e-9

    def has_time_for(self, method: str) -> bool:
        """Whether a search is likely to end within the budget; what it would have come to is not known otherwise."""
        left = self.clock.left
        if method not in _SEARCHED or left is None or left > _SEARCH_RUNS * self._collecting:
            return True
        self._told.say(f"- {method}: left out: it would take longer than the {left:.0f} s that are left")
        return False

    def say_what_follows(self) -> None:
        """Says, when one step is done, how long those that may follow it will take."""
        if not self._collecting or not self.steps:
            return
        scoring = max(self.steps[0].seconds - self._collecting, 0.0)
        most = _RUNS_TO_FOLLOW * self._collecting + _STEPS_TO_FOLLOW * scoring
        self._told.say(
            "what may follow until the target is met: other methods, auto, channels evened out, weights rounded: "
            f"{duration(most)} at most, if each step takes as long as the first one lets expect; then layers in "
            "floating point; --budget ends it earlier"
        )

    def made(self, setting: Setting) -> Quantization:
        """The Q/DQ model of a setting, which is made again unless it is the best, the last or that of a search."""
        for kept in (self._last, self._of_best, self._of_search):
            if kept is not None and kept[0] == setting:
                return kept[1]
        self._last = None  # one model less while the next one is made
        self._last = (setting, self._make(setting))
        if setting.method in _SEARCHED and not (setting.round or setting.exclude):
            self._of_search = self._last
        return self._last[1]

    def estimate(self, base: Setting, exclude: tuple[str, ...]) -> Score:
        """The score of a setting with more nodes in floating point, by the scales and weights that it has.

        That is the setting's own score where neither equalization nor rounding looks at what is quantized.
        """
        self.clock.check()

        def work() -> dict[str, Any]:
            made = self.made(base)
            qdq = replace(base, exclude=(*base.exclude, *exclude)).qdq(self.request.qdq)
            score, _ = self._scored(requantized(made, qdq))
            return asdict(score)

        return Score.of(self.notes.once(f"estimate: {base} {exclude}", work))

    def reported(self, made: Quantization) -> Score:
        """The score on the half that no step was chosen on."""
        self.listener.step = "the other half"
        return self.scorer.score(made, self.scorer.halves.reporting, self._told)

    def _tried(self, setting: Setting) -> Step:
        started = time.monotonic()
        self.listener.step = setting.name
        if alike := self._alike(setting):
            return replace(alike, setting=setting, seconds=time.monotonic() - started)
        made = self.made(setting)
        score, digest = self._scored(made)
        engine = engine_of(made) if self._compiles else None
        return Step(setting, score, cost_of(made), digest, time.monotonic() - started, engine)

    def _scored(self, made: Quantization) -> tuple[Score, str]:
        digest = _digest(made.proto())
        if digest not in self._scores:
            halves = self.scorer.halves
            self._scores[digest] = self.scorer.score(made, halves.choosing, self.listener)
        return self._scores[digest], digest

    def _make(self, setting: Setting) -> Quantization:
        qdq = setting.qdq(self.request.qdq)
        if setting.round:
            # Rounding comes last: what was made without it is what it begins with.
            return rounded(self.made(replace(setting, round=False)), self._data, qdq, self.listener)
        if setting.equalize != "off":
            return self._equalized(setting)
        if setting.exclude and setting.method in _SEARCHED:
            # What is quantized plays no part in the search for thresholds.
            return requantized(self.made(replace(setting, exclude=())), qdq)
        return quantize_calibrated(self._calibrated(setting), qdq)

    def _equalized(self, setting: Setting) -> Quantization:
        options, qdq = setting.options(self.request.options), setting.qdq(self.request.qdq)
        found = equalize(self._model, self._data, setting.equalize, options, qdq, listener=self.listener)
        if found.equalized is None:
            self._as_it_was.add(setting)
            return replace(self.made(replace(setting, equalize="off")), equalization=found)
        return quantize_equalized(found, self._data, options, qdq, self.listener)

    def _alike(self, setting: Setting) -> Step | None:
        """A step that came to the same, as it must; None where there was none."""
        if setting.equalize == "off":
            return None
        same = self._least(setting)
        return next((step for step in self.steps if self._least(step.setting) == same), None)

    def _least(self, setting: Setting) -> Setting:
        """The setting with the lowest level of equalization that must come to the same model."""
        if setting.equalize == "full" and not self._inserts(setting):
            setting = replace(setting, equalize="free")
        if replace(setting, round=False) in self._as_it_was:
            setting = replace(setting, equalize="off")
        return setting

    def _inserts(self, setting: Setting) -> bool:
        """Whether level `full` may come to something else than `free`."""
        if setting.exclude not in self._inserting:
            options, qdq = setting.options(self.request.options), setting.qdq(self.request.qdq)
            counted = self._counted
            prepared = counted.prepared if counted else prepare(self._model, options, Quiet(self.listener))
            self._inserting[setting.exclude] = full_inserts(prepared, qdq)
        return self._inserting[setting.exclude]

    def _calibrated(self, setting: Setting) -> Calibration:
        """The calibration by a method: the data is counted once for all of them."""
        options, bits = setting.options(self.request.options), self.request.qdq.weight_bits
        # Whichever method asks first, which after a resume may be any: the samples that `until_stable` counts, and the
        # time that it takes, are the same.
        counting = without_search(replace(options, method=_COUNTED_UNDER))
        if self._counted is None:
            started = time.monotonic()
            self._counted = calibrate_for(self._model, self._data, counting, self.listener, weight_bits=bits)
            self._collecting = time.monotonic() - started
            scales = {name: item.scale for name, item in self._counted.scales.items()}
            for text in unseen_warnings(self._counted.unseen, scales, from_cache=False):
                self.listener.warn(text)
        if options == counting:
            return self._counted
        return calibrate_again(self._counted, self._data, options, self.listener, bits)

    def _line(self, step: Step, *, better: bool) -> str:
        score, best = step.score, self.best
        parts = [figure_and_drop(score)]
        if best is not None:
            gain = best.score.rank[0] - score.rank[0]
            parts.append(f"gains {amount(score, gain)}" if gain > 0 else "gains nothing")
            if better and gain <= 0:
                parts[-1] = "gains less noise"
        parts.append(f"{step.cost.share:.1%} of multiply-adds in float")
        if step.engine is not None:
            parts.append(
                f"{step.engine.kernels} kernels, {step.engine.float_bytes / 1e6:.2f} MB of floats moved"
            )
        parts.append(f"{step.seconds:.0f} s")
        left = self.clock.left
        parts += [] if left is None else [f"{left:.0f} s left"]
        mark = "+" if better else "-"
        return f"{mark} {step.setting.name}: {', '.join(parts)}"


def _digest(proto: onnx.ModelProto) -> str:
    """SHA-256 of what a model computes; part by part, for one that is larger than protobuf writes at once."""
    found = hashlib.sha256()
    for parts in (proto.graph.input, proto.graph.output, proto.graph.node, proto.graph.initializer):
        for part in parts:
            found.update(part.SerializeToString(deterministic=True))
    return found.hexdigest()
