"""Channel equalization from end to end: a model and data in, a calibration of the better model out.

The factors of each site are chosen by the error of the layers that read it. Then the whole model is calibrated on some
samples as it was and as it is now, and INT8 of both is run on others, which are held back. The rewritten model is taken
only if no block of its outputs is worse; otherwise it is tried again with the better half of its sites, and with less.
What is taken is made anew from the ranges of all the data, and calibrated on all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import OptionError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.save import save_model
from onnx_trtcal.improve.data_only import check_rereadable
from onnx_trtcal.improve.equalize.choose import Choice, SiteGain, choose_factors
from onnx_trtcal.improve.equalize.equalized import Changes, Equalized, equalized
from onnx_trtcal.improve.equalize.factors import FactorMaker, input_channels_first
from onnx_trtcal.improve.equalize.local_error import LayerError
from onnx_trtcal.improve.equalize.numbering import number_channels
from onnx_trtcal.improve.equalize.quiet import Quiet
from onnx_trtcal.improve.equalize.rewrite import fitting, rewrite, scaled_tensors
from onnx_trtcal.improve.equalize.sites import Site, Sites, find_sites
from onnx_trtcal.improve.equalize.study import Study, study
from onnx_trtcal.improve.equalize.trials import Trial, Trials
from onnx_trtcal.options import Options
from onnx_trtcal.pipeline import check_options
from onnx_trtcal.prepared import fold_model, prepare
from onnx_trtcal.provenance import equalization_of
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.scale_source import source_kind
from onnx_trtcal.support.progress_bar import listener_for
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.improve.equalize.channels import Channels
    from onnx_trtcal.improve.equalize.roles import Reader
    from onnx_trtcal.improve.held_back import Fidelity
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["Equalization", "check_equalizable", "equalize", "full_inserts"]

# What is tried, cheapest last; the first that gains is taken.
_LEVELS = {"free": ("free",), "full": ("full", "free")}
# In dB, of the worst block and of the mean: by less, other samples may well lose.
_WORTH = 0.5
# In dB, of the layers that read a tensor: the outputs gain less than the tensor that gains most does.
_WORTH_A_TRIAL = 1.0


@dataclass(frozen=True, eq=False)
class Equalization:
    """What came of equalizing a model.

    Attributes:
        original: the model as it was loaded.
        equalized: the rewritten model; None where the original stays.
        before: how well INT8 of the original keeps its outputs on the samples held back; None where nothing was tried.
        after: the same of the rewritten model; of the best that was tried where the original stays.
        reason: why the original stays; empty where it does not.
        stand_in: methods that `before` and `after` are by in place of those asked for, which run the model, in words:
            `mse in place of auto`; empty where they are by those asked for.
    """

    original: Model
    equalized: Equalized | None
    before: Fidelity | None = None
    after: Fidelity | None = None
    reason: str = ""
    stand_in: str = ""

    @property
    def model(self) -> Model:
        """The model to go on with: the rewritten one, or the original where that stays."""
        return self.equalized.model if self.equalized else self.original

    @property
    def verdict(self) -> str:
        """One line that says what was done and what it is worth."""
        if self.equalized is None or self.before is None or self.after is None:
            return f"equalization leaves the model as it is: {self.reason}"
        gains = self.equalized.changes.gains
        chosen = [each for each in gains if each.alpha is not None]
        inserted = self.equalized.changes.inserted
        muls = f", {many(inserted, 'per-channel Mul')} added" if inserted else ""
        return (
            f"equalized the channels of {len(chosen)} of {many(len(gains), 'tensor')}{muls}; "
            f"{_judged(self.stand_in)}, the outputs' worst block goes from {self.before.worst:.1f} to "
            f"{self.after.worst:.1f} dB, the mean of all blocks from {self.before.mean:.1f} to {self.after.mean:.1f} dB"
        )

    @property
    def details(self) -> tuple[str, ...]:
        """One line per tensor that could be equalized."""
        gains = self.equalized.changes.gains if self.equalized else ()
        return tuple(_detail(each) for each in gains)

    def record(self) -> dict[str, Any]:
        """The same as plain data: what the rewritten model's metadata says, and the verdict."""
        changed = equalization_of(self.model) if self.equalized else {}
        return {**changed, "verdict": self.verdict}

    def __repr__(self) -> str:
        return f"<Equalization: {self.verdict}>"

    def proto(self) -> onnx.ModelProto:
        """The float model to go on with, in memory."""
        return self.model.proto

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the float model to go on with; returns the files written.

        Raises:
            CalibrationError: when a file cannot be written.
        """
        if self.equalized is not None:
            return self.equalized.save(path)
        return save_model(import_graph(self.original), self.original, path)


def _detail(gain: SiteGain) -> str:
    if gain.alpha is None:
        return f"{gain.tensor}: left as it is"
    mul = ", by a Mul" if gain.inserts else ""
    return f"{gain.tensor}: alpha {gain.alpha:g}{mul}, {gain.gain:+.1f} dB in the layers that read it"


def equalize(  # noqa: PLR0913 (`calibrate`'s arguments, the level and the layers)
    model: str | Path | onnx.ModelProto,
    data: Any,
    level: str = "free",
    options: Options = Options(),
    qdq: QdqOptions = QdqOptions(),
    *,
    listener: Listener | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Equalization:
    """A float model that computes the same and loses less in INT8: what `--equalize` makes before calibrating.

        >>> from onnx_trtcal import Options, equalize
        >>> found = equalize("models/digits_mlp.onnx", "models/digits_calib.npy", "free", Options(max_samples=24))
        >>> [output.name for output in found.proto().graph.output]
        ['logits']
        >>> found.reason
        'the channels have too few values for their ranges to be known'

    Args:
        model: path of a float ONNX file, or such a model in memory.
        data: to calibrate on, whatever `calibrate` takes; it is read several times.
        level: `free` rewrites weights and biases only; `full` also puts a per-channel Mul behind activations that a
            factor does not pass, such as SiLU, which NVIDIA's compiler runs in the kernel before it.
        options: how to calibrate; see Options.
        qdq: which layers run in INT8.
        listener: receives messages and progress.
        transform: makes of each element of the data what is fed, as in `calibrate`.
        progress: show a bar, where no listener is given.

    Raises:
        OptionError: there is no such level.
        DataError: the data can be read only once.
        CalibrationError: one of its family, from calibrating.
    """
    listener = listener_for(listener, progress=progress)
    data = transformed(data, transform)
    if level not in _LEVELS:
        raise OptionError(f"equalize is {level!r}, which is none of {', '.join(_LEVELS)}")
    check_equalizable(data)
    found = _Job(model, data, options, qdq, listener).run(level)
    listener.say(found.verdict)
    return found


def full_inserts(prepared: Prepared, qdq: QdqOptions) -> bool:
    """Whether level `full` may come to something else than `free`: whether it has a tensor that needs a Mul."""
    sites = find_sites(_numbered(prepared, "full"), _quantized(prepared, _compared(qdq)))
    return any(site.inserts for site in sites.sites)


def check_equalizable(source: Any) -> None:
    """Refuses to equalize without data that can be read several times.

    Raises:
        OptionError: the scales come from statistics, a cache or a calibration.
        DataError: the data can be read only once.
    """
    kind = source_kind(source)
    check_rereadable(
        source,
        kind,
        "equalize",
        f"changes the model before it is calibrated, and a {kind} source belongs to the model as it was",
        "several times",
    )


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
        self.data, self.options, self.listener = data, options, listener
        self.qdq = _compared(qdq)
        # The samples of the trials are in memory, and all of them count. NaN is left to the calibration that follows,
        # which knows the samples' names.
        self.trial_options = replace(options, max_samples=None, until_stable=None, allow_nonfinite=True)
        provider = choose_provider(options.provider)
        self.session_options: SessionOptions = (provider, options.threads, options.ort_custom_ops)

    def run(self, level: str) -> Equalization:
        """Tries one level after the other, until the outputs gain."""
        original = self.prepared.original
        numbered = {name: _numbered(self.prepared, name) for name in _LEVELS[level]}
        sites = self._sites(numbered)
        axes = self._axes([site for found in sites.values() for site in found.sites])
        if not axes:
            reason = "no INT8 layer reads a tensor whose channels can be scaled"
            return Equalization(original, None, reason=reason)
        self.listener.say(f"equalizing the channels of up to {many(len(axes), 'tensor')}")
        studied = self._study(axes)
        if not studied.choosing:
            return Equalization(original, None, reason="one sample is too few to hold any back")
        if not studied.ranges:
            return Equalization(
                original, None, reason="the channels have too few values for their ranges to be known"
            )
        trials = Trials(
            self.prepared, studied, self.trial_options, self.qdq, self.session_options, self.quiet
        )
        best: Trial | None = None
        for name, found in sites.items():
            chosen = self._choice(numbered[name], found, studied)
            for kept in _halves(chosen):
                choice = chosen.keeping(found, kept)
                made = self._rewritten(name, choice, _numbered(self.prepared, name))
                trial = trials.of(made.model)
                if trial.gain >= _WORTH:
                    final = self._final(name, choice, numbered[name], found, studied)
                    return Equalization(original, final, trial.before, trial.after, stand_in=trial.stand_in)
                best = trial if best is None or trial.gain > best.gain else best
        if best is None:
            return Equalization(original, None, reason="no layer's error falls enough to show at the outputs")
        return Equalization(original, None, best.before, best.after, _reason(best), best.stand_in)

    def _sites(self, numbered: Mapping[str, Channels]) -> dict[str, Sites]:
        quantized = _quantized(self.prepared, self.qdq)
        return {name: find_sites(channels, quantized) for name, channels in numbered.items()}

    def _axes(self, sites: Sequence[Site]) -> dict[str, int]:
        """What the layers of some sites read, as far as it is in the part of the model that runs."""
        runs = self.prepared.folded.tensors()
        return {
            reader.tensor: reader.axis for site in sites for reader in site.readers if reader.tensor in runs
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
        return self._rewritten(level, final, _numbered(self.prepared, level))

    def _rewritten(self, level: str, choice: Choice, channels: Channels) -> Equalized:
        scaled = scaled_tensors(channels, choice.factors)
        changes = Changes(level, choice.gains, rewrite(channels, choice.factors), scaled)
        return equalized(channels.graph, self.prepared.original, changes)


def _compared(qdq: QdqOptions) -> QdqOptions:
    """What is compared runs in float32, and its weights are rounded to the nearest."""
    return replace(qdq, high_precision="fp32", round=False)


def _numbered(prepared: Prepared, level: str) -> Channels:
    folded = fold_model(prepared.original)
    return number_channels(folded.folded, folded.model.shapes, insert=level == "full")


def _quantized(prepared: Prepared, qdq: QdqOptions) -> frozenset[str]:
    whole = prepared.whole()
    return frozenset(place(whole.folded, whole.groups, qdq).quantized)


def _weights(channels: Channels, sites: Sites) -> dict[Reader, np.ndarray]:
    """The weights of all layers that read a site, as stored."""
    readers = dict.fromkeys(reader for site in sites.sites for reader in site.readers)
    found = {reader: channels.around.constants.value(reader.node.inputs[reader.slot]) for reader in readers}
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
    """The sites to keep: all that were chosen, then the better half; nothing where none of them gains much."""
    chosen = sorted(choice.chosen, key=lambda each: -each.gain)
    if chosen and chosen[0].gain >= _WORTH_A_TRIAL:
        yield frozenset(each.tensor for each in chosen)
        if len(chosen) > 1:
            yield frozenset(each.tensor for each in chosen[: len(chosen) // 2])


def _reason(best: Trial) -> str:
    before, after = best.before, best.after
    return (
        f"{_judged(best.stand_in)}, INT8's outputs would not gain (worst block {before.worst:.1f} to "
        f"{after.worst:.1f} dB, mean of all blocks {before.mean:.1f} to {after.mean:.1f} dB)"
    )


def _judged(stand_in: str) -> str:
    """On what, and by which methods where they are not those asked for."""
    return f"on samples held back, by {stand_in}" if stand_in else "on samples held back"
