"""What equalization is worth: INT8 of the model as it was and as it is now, on samples that were held back.

Both are calibrated on the samples to choose on. Where a method runs the model, its stand-in for statistics alone goes
first: only where that leaves it open does a search, which takes ten runs of every sample, decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from onnx_trtcal.improve.held_back import Fidelity, HeldBack
from onnx_trtcal.methods.stand_ins import without_search
from onnx_trtcal.pipeline import calibrate_again, calibrate_for
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.search.outputs import comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.improve.equalize.study import Study
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["Trial", "Trials"]

# In dB. Thresholds that a search finds win back so much at most of what uneven channels cost; below the first, they
# have not shown to win anything on an equalized model either.
_OPEN = (0.0, 3.0)


@dataclass(frozen=True)
class Trial:
    """How well INT8 keeps the outputs on the samples held back.

    Attributes:
        before: that of the model as it was.
        after: that of the rewritten one.
        stand_in: methods that both are by in place of those asked for, in words; empty where they are by those.
    """

    before: Fidelity
    after: Fidelity
    stand_in: str = ""

    @property
    def gain(self) -> float:
        """How much better the rewritten one is, in dB."""
        return self.after.gain_over(self.before)


class Trials:
    """Compares rewritten forms of a model with the model.

    Args:
        prepared: the model.
        studied: the samples to calibrate on, and those that are held back.
        options: how to calibrate; all the samples count.
        qdq: which layers run in INT8.
        session_options: as for Session.
        listener: receives progress.
    """

    def __init__(
        self,
        prepared: Prepared,
        studied: Study,
        options: Options,
        qdq: QdqOptions,
        session_options: SessionOptions,
        listener: Listener,
    ) -> None:
        self._original = prepared.original
        self._samples, self._listener = list(studied.choosing), listener
        self._options, self._qdq = options, qdq
        outputs = comparable_outputs(ExportedGraph(prepared.folded, prepared.model))
        self._judge = HeldBack(prepared.folded, prepared.model, outputs, studied.judging, session_options)
        searches = {
            f"{each.fallback} in place of {each.name}" for each in prepared.methods.values() if each.fallback
        }
        self._stand_in = " and ".join(sorted(searches))
        self._cheap = without_search(options) if searches else options

    def of(self, model: Model) -> Trial:
        """A rewritten model beside the original.

        Raises:
            CalibrationError: one of its family, from calibrating.
        """
        made = self._calibrated(model)
        trial = Trial(self._fidelity_before, self._fidelity(made), self._stand_in)
        if not self._stand_in or not _OPEN[0] < trial.gain < _OPEN[1]:
            return trial
        return Trial(self._searched_before, self._searched(made))

    @cached_property
    def _before(self) -> Calibration:
        return self._calibrated(self._original)

    @cached_property
    def _fidelity_before(self) -> Fidelity:
        return self._fidelity(self._before)

    @cached_property
    def _searched_before(self) -> Fidelity:
        return self._searched(self._before)

    def _calibrated(self, model: Model) -> Calibration:
        return calibrate_for(
            model, self._samples, self._cheap, self._listener, weight_bits=self._qdq.weight_bits
        )

    def _searched(self, made: Calibration) -> Fidelity:
        bits = self._qdq.weight_bits
        return self._fidelity(calibrate_again(made, self._samples, self._options, self._listener, bits))

    def _fidelity(self, calibration: Calibration) -> Fidelity:
        scales = {name: item.scale for name, item in calibration.scales.items()}
        made = quantize_model(calibration.prepared.model, scales, self._qdq, calibration.unseen)
        return self._judge.fidelity(made.graph, made.model)
