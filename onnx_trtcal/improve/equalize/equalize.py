"""Channel equalization from end to end: a model and data in, a calibration of the better model out.

The factors of each site are chosen by the error of the layers that read it. Then the whole model is calibrated as it was
and as it is now, and INT8 of both is run on samples that were held back from choosing. The rewritten model is taken only
if no block of its outputs is worse; otherwise it is tried again with the better half of its sites, and with less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.improve.equalize.choose import Choice, SiteGain, choose_factors
from onnx_trtcal.improve.equalize.equalized import Equalized, equalized
from onnx_trtcal.improve.equalize.factors import FactorMaker, input_channels_first
from onnx_trtcal.improve.equalize.local_error import LayerError
from onnx_trtcal.improve.equalize.numbering import number_channels
from onnx_trtcal.improve.equalize.quiet import Quiet
from onnx_trtcal.improve.equalize.rewrite import fitting, rewrite
from onnx_trtcal.improve.equalize.sites import Sites, find_sites
from onnx_trtcal.improve.equalize.study import Study, study
from onnx_trtcal.improve.held_back import Fidelity, HeldBack
from onnx_trtcal.pipeline import calibrate
from onnx_trtcal.prepared import fold_model
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.output_error import comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.improve.equalize.channels import Channels
    from onnx_trtcal.improve.equalize.roles import Reader
    from onnx_trtcal.options import Options
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["Equalization", "equalize"]

# What is tried, cheapest last; the first that is not worse is taken.
_LEVELS = {"free": ("free",), "full": ("full", "free")}


@dataclass(frozen=True, eq=False)
class Equalization:
    """What came of equalizing a model.

    Attributes:
        calibration: of the rewritten model, or of the original where nothing is gained.
        equalized: the rewritten model; None where the original stays.
        before: how well INT8 of the original keeps its outputs on the samples held back.
        after: the same of the rewritten model; of the best that was tried where the original stays.
        reason: why the original stays; empty where it does not.
    """

    calibration: Calibration
    equalized: Equalized | None
    before: Fidelity | None = None
    after: Fidelity | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """One line that says what was done and what it is worth."""
        if self.equalized is None or self.before is None or self.after is None:
            return f"equalization: the model stays as it is: {self.reason}"
        chosen = [each for each in self.equalized.gains if each.alpha is not None]
        muls = f", {self.equalized.inserted} per-channel Muls put in" if self.equalized.inserted else ""
        return (
            f"equalization: {len(chosen)} of {len(self.equalized.gains)} sets of channels evened out{muls}; on samples "
            f"held back, the outputs' worst block goes from {self.before.worst:.1f} to {self.after.worst:.1f} dB, "
            f"the mean from {self.before.mean:.1f} to {self.after.mean:.1f} dB"
        )

    @property
    def details(self) -> tuple[str, ...]:
        """One line per set of channels."""
        gains = self.equalized.gains if self.equalized else ()
        return tuple(_detail(each) for each in gains)


def _detail(gain: SiteGain) -> str:
    if gain.alpha is None:
        return f"{gain.tensor}: left as it is"
    mul = ", by a Mul" if gain.inserts else ""
    return f"{gain.tensor}: alpha {gain.alpha:g}{mul}, {gain.gain:+.1f} dB in the layers that read it"


def equalize(
    model: str | Path | onnx.ModelProto,
    data: Any,
    level: str,
    options: Options,
    qdq: QdqOptions,
    listener: Listener,
) -> Equalization:
    """Equalizes a model and calibrates it.

    Args:
        model: path of a float ONNX file, or such a model in memory.
        data: to calibrate on; read several times.
        level: `free` or `full`.
        options: how to calibrate.
        qdq: where INT8 is read.
        listener: receives messages and progress.

    Raises:
        DataError: when the data can be read only once.
        CalibrationError: from calibrating.
    """
    if isinstance(data, Iterator):
        raise DataError(
            "equalization reads the data several times, and an iterator gives it only once", fix=AGAIN
        )
    return _Job(calibrate(model, data, options, listener=listener), data, options, qdq, listener).run(level)


class _Job:
    """Everything that the candidates have in common."""

    def __init__(
        self, calibration: Calibration, data: Any, options: Options, qdq: QdqOptions, listener: Listener
    ) -> None:
        self.calibration = calibration
        self.prepared = calibration.prepared
        self.data, self.options, self.qdq = data, options, qdq
        self.listener = listener
        self.quiet = Quiet(listener)
        provider = choose_provider(options.provider)
        self.session_options: SessionOptions = (provider, options.threads, options.ort_custom_ops)
        whole = self.prepared.whole()
        self.placement = place(whole.folded, whole.groups, qdq, calibration.scales, calibration.unseen)

    def run(self, level: str) -> Equalization:
        numbered = {name: self._numbered(name) for name in _LEVELS[level]}
        sites = {
            name: find_sites(channels, frozenset(self.placement.quantized))
            for name, channels in numbered.items()
        }
        axes = {
            reader.tensor: reader.axis
            for found in sites.values()
            for site in found.sites
            for reader in site.readers
            if self._runs(reader.tensor)
        }
        if not axes:
            return Equalization(
                self.calibration, None, reason="no INT8 layer reads a tensor whose channels can be scaled"
            )
        studied = self._study(axes)
        judge = self._held_back(studied)
        before = self._fidelity(judge, self.calibration)
        best: Fidelity | None = None
        for name, found in sites.items():
            choice = self._choice(numbered[name], found, studied)
            for kept in _halves(choice):
                candidate = self._rewritten(name, choice.keeping(found, kept), self._numbered(name))
                made = calibrate(candidate.model, self.data, self.options, listener=self.quiet)
                after = self._fidelity(judge, made)
                if not after.is_worse_than(before):
                    return Equalization(made, candidate, before, after)
                best = after if best is None or after.gain_over(best) > 0 else best
        return Equalization(self.calibration, None, before, best, _reason(before, best))

    def _numbered(self, level: str) -> Channels:
        folded = fold_model(self.prepared.original)
        return number_channels(folded.folded, folded.model.shapes, insert=level == "full")

    def _runs(self, tensor: str) -> bool:
        """Whether a tensor is in the part of the model that runs."""
        return tensor in self._tensors

    @property
    def _tensors(self) -> frozenset[str]:
        return frozenset(self.prepared.folded.tensors())

    def _study(self, axes: dict[str, int]) -> Study:
        options, prepared = self.options, self.prepared
        source = open_source(
            self.data,
            prepared.model.inputs,
            options.preprocess,
            options.max_samples,
            self.quiet,
            options.item_axis,
        )
        if self.calibration.feeding:
            source = source.settled(self.calibration.feeding)
        counted = frozenset(digest for _, digest in self.calibration.collection.samples)
        return study(prepared, source, counted, axes, self.session_options, self.listener)

    def _choice(self, channels: Channels, sites: Sites, studied: Study) -> Choice:
        constants = Constants(channels.graph)
        readers = dict.fromkeys(reader for site in sites.sites for reader in site.readers)
        errors: dict[Reader, LayerError] = {}
        dense: dict[Reader, np.ndarray] = {}
        for reader in readers:
            weight = constants.value(reader.node.inputs[reader.slot])
            amax = studied.ranges.get(reader.tensor)
            if weight is None or amax is None:
                continue
            errors[reader] = LayerError.measured(reader, weight, amax, studied.choosing)
            rows, depthwise = input_channels_first(reader, weight)
            if not depthwise:
                dense[reader] = np.asarray(rows, dtype=np.float64)
        halves = any(np.dtype(layer.weight.dtype).itemsize < 4 for layer in errors.values())
        maker = FactorMaker(sites, studied.ranges, dense, 1 if halves else 4)
        choice = choose_factors(sites, maker, errors)
        if fitting(channels, choice.factors):
            return choice
        alone = {
            each.tensor
            for each in choice.chosen
            if fitting(channels, choice.keeping(sites, {each.tensor}).factors)
        }
        choice = choice.keeping(sites, alone)
        return choice if fitting(channels, choice.factors) else choice.keeping(sites, ())

    def _rewritten(self, level: str, choice: Choice, channels: Channels) -> Equalized:
        inserted = rewrite(channels, choice.factors)
        return equalized(channels.graph, self.prepared.original, level, choice.gains, inserted)

    def _held_back(self, studied: Study) -> HeldBack:
        graph = ExportedGraph(self.prepared.folded, self.prepared.model)
        outputs = comparable_outputs(graph)
        return HeldBack(
            self.prepared.folded, self.prepared.model, outputs, studied.judging, self.session_options
        )

    def _fidelity(self, judge: HeldBack, calibration: Calibration) -> Fidelity:
        scales = {name: item.scale for name, item in calibration.scales.items()}
        made = quantize_model(calibration.prepared.model, scales, self.qdq, calibration.unseen)
        return judge.fidelity(made.graph, made.model)


def _halves(choice: Choice) -> Iterator[frozenset[str]]:
    """The sites to keep: all that were chosen, then the better half of them; nothing where there are none."""
    chosen = sorted(choice.chosen, key=lambda each: -each.gain)
    if chosen:
        yield frozenset(each.tensor for each in chosen)
    if len(chosen) > 1:
        yield frozenset(each.tensor for each in chosen[: len(chosen) // 2])


def _reason(before: Fidelity, best: Fidelity | None) -> str:
    if best is None:
        return "no layer's error falls"
    return (
        f"its outputs would lose on samples held back (worst block {before.worst:.1f} to {best.worst:.1f} dB, mean "
        f"{before.mean:.1f} to {best.mean:.1f} dB)"
    )
