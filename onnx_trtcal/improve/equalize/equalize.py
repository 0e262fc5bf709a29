"""Channel equalization from end to end: a model and data in, a calibration of the better model out.

The factors of each site are chosen by the error of the layers that read it. Then the whole model is calibrated on some
samples as it was and as it is now, and INT8 of both is run on others, which are held back. The rewritten model is taken
only if no block of its outputs is worse; otherwise it is tried again with the better half of its sites, and with less.
What is taken is made anew from the ranges of all the data, and calibrated on all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.improve.equalize.choose import Choice, SiteGain, choose_factors
from onnx_trtcal.improve.equalize.equalized import Equalized, equalized
from onnx_trtcal.improve.equalize.factors import FactorMaker, input_channels_first
from onnx_trtcal.improve.equalize.local_error import LayerError
from onnx_trtcal.improve.equalize.numbering import number_channels
from onnx_trtcal.improve.equalize.quiet import Quiet
from onnx_trtcal.improve.equalize.rewrite import fitting, rewrite
from onnx_trtcal.improve.equalize.sites import Site, Sites, find_sites
from onnx_trtcal.improve.equalize.study import Study, study
from onnx_trtcal.improve.held_back import Fidelity, HeldBack
from onnx_trtcal.pipeline import calibrate, check_options
from onnx_trtcal.prepared import fold_model, prepare
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.output_error import comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.graph.model.load import Model
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
    return _Job(model, data, options, qdq, listener).run(level)


class _Job:
    """Everything that the candidates have in common."""

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        data: Any,
        options: Options,
        qdq: QdqOptions,
        listener: Listener,
    ) -> None:
        check_options(options)
        self.quiet = Quiet(listener)
        self.prepared = prepare(model, options, self.quiet)
        self.data, self.options, self.qdq, self.listener = data, options, qdq, listener
        # The samples of the trials are in memory, and all of them count.
        self.trial_options = replace(options, max_samples=None, until_stable=None)
        provider = choose_provider(options.provider)
        self.session_options: SessionOptions = (provider, options.threads, options.ort_custom_ops)

    def run(self, level: str) -> Equalization:
        """Tries one level after the other, until the outputs lose nothing."""
        whole = self.prepared.whole()
        quantized = frozenset(place(whole.folded, whole.groups, self.qdq).quantized)
        numbered = {name: self._numbered(name) for name in _LEVELS[level]}
        sites = {name: find_sites(channels, quantized) for name, channels in numbered.items()}
        axes = self._axes([site for found in sites.values() for site in found.sites])
        if not axes:
            reason = "no INT8 layer reads a tensor whose channels can be scaled"
            return Equalization(self._calibrated(self.prepared.original), None, reason=reason)
        studied = self._study(axes)
        judge = self._held_back(studied)
        before = self._fidelity(judge, self._trial(self.prepared.original, studied))
        best: Fidelity | None = None
        for name, found in sites.items():
            chosen = self._choice(numbered[name], found, studied)
            for kept in _halves(chosen):
                choice = chosen.keeping(found, kept)
                made = self._rewritten(name, choice, self._numbered(name))
                after = self._fidelity(judge, self._trial(made.model, studied))
                if not after.is_worse_than(before):
                    final = self._final(name, choice, numbered[name], found, studied)
                    return Equalization(self._calibrated(final.model), final, before, after)
                best = after if best is None or after.gain_over(best) > 0 else best
        reason = _reason(before, best)
        return Equalization(self._calibrated(self.prepared.original), None, before, best, reason)

    def _calibrated(self, model: Model) -> Calibration:
        return calibrate(model, self.data, self.options, listener=self.listener)

    def _trial(self, model: Model, studied: Study) -> Calibration:
        """A calibration on the samples to choose on, those that judge being held back."""
        return calibrate(model, list(studied.choosing), self.trial_options, listener=self.quiet)

    def _numbered(self, level: str) -> Channels:
        folded = fold_model(self.prepared.original)
        return number_channels(folded.folded, folded.model.shapes, insert=level == "full")

    def _axes(self, sites: Sequence[Site]) -> dict[str, int]:
        """What the layers of some sites read, as far as it is in the part of the model that runs."""
        runs = self.prepared.folded.tensors()
        return {
            reader.tensor: reader.axis
            for site in sites
            for reader in site.readers
            if reader.tensor in runs
        }

    def _study(self, axes: Mapping[str, int]) -> Study:
        options, prepared = self.options, self.prepared
        inputs = prepared.model.inputs
        source = open_source(
            self.data, inputs, options.preprocess, options.max_samples, self.quiet, options.item_axis
        )
        return study(prepared, source, axes, self.session_options, self.quiet)

    def _choice(self, channels: Channels, sites: Sites, studied: Study) -> Choice:
        errors = {}
        for reader, weight in _weights(channels, sites).items():
            amax = studied.chosen_ranges.get(reader.tensor)
            if amax is not None:
                errors[reader] = LayerError.measured(reader, weight, amax, studied.values)
        maker = _factor_maker(channels, sites, studied.chosen_ranges)
        choice = choose_factors(sites, maker, errors)
        return _fitting(channels, sites, choice)

    def _final(
        self, level: str, choice: Choice, channels: Channels, sites: Sites, studied: Study
    ) -> Equalized:
        """As far evened out as was chosen, by the ranges of all the data."""
        maker = _factor_maker(channels, sites, studied.ranges)
        final = _fitting(channels, sites, choice.with_ranges(sites, maker))
        return self._rewritten(level, final, self._numbered(level))

    def _rewritten(self, level: str, choice: Choice, channels: Channels) -> Equalized:
        inserted = rewrite(channels, choice.factors)
        return equalized(channels.graph, self.prepared.original, level, choice.gains, inserted)

    def _held_back(self, studied: Study) -> HeldBack:
        graph, model = self.prepared.folded, self.prepared.model
        outputs = comparable_outputs(ExportedGraph(graph, model))
        return HeldBack(graph, model, outputs, studied.judging, self.session_options)

    def _fidelity(self, judge: HeldBack, calibration: Calibration) -> Fidelity:
        scales = {name: item.scale for name, item in calibration.scales.items()}
        qdq = replace(self.qdq, high_precision="fp32")
        made = quantize_model(calibration.prepared.model, scales, qdq, calibration.unseen)
        return judge.fidelity(made.graph, made.model)


def _weights(channels: Channels, sites: Sites) -> dict[Reader, np.ndarray]:
    """The weights of all layers that read a site, as stored."""
    readers = dict.fromkeys(reader for site in sites.sites for reader in site.readers)
    found = {
        reader: channels.around.constants.value(reader.node.inputs[reader.slot]) for reader in readers
    }
    return {reader: weight for reader, weight in found.items() if weight is not None}


def _factor_maker(channels: Channels, sites: Sites, ranges: Mapping[str, np.ndarray]) -> FactorMaker:
    dense = {}
    weights = _weights(channels, sites)
    for reader, weight in weights.items():
        rows, depthwise = input_channels_first(reader, weight)
        if not depthwise:
            dense[reader] = np.abs(rows.astype(np.float64)).max(axis=1, initial=0.0)
    # Powers of two change no digit of a 16-bit number.
    short = any(weight.dtype.itemsize < 4 for weight in weights.values())
    return FactorMaker(sites, ranges, dense, 1 if short else 4)


def _fitting(channels: Channels, sites: Sites, choice: Choice) -> Choice:
    """The choice without the sites that would make constants overflow their type."""
    if fitting(channels, choice.factors):
        return choice
    names = {each.tensor for each in choice.chosen}
    alone = {name for name in names if fitting(channels, choice.keeping(sites, {name}).factors)}
    choice = choice.keeping(sites, alone)
    return choice if fitting(channels, choice.factors) else choice.keeping(sites, ())


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
