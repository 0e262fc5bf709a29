"""sensitivity(): which groups of a model INT8 hurts most, and what leaving them in floating point buys back."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.counting.described import metadata_of
from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.evaluation.asked_tasks import read_asked
from onnx_trtcal.evaluation.interfaces import tensor_outputs
from onnx_trtcal.evaluation.ranked_groups import RankedGroup, groups_of, rank_group, without_groups
from onnx_trtcal.evaluation.request import SensitivityOptions, simulated_method, with_transform
from onnx_trtcal.evaluation.row_counts import batch_size_for
from onnx_trtcal.evaluation.switched_graph import build_switched_graph, quantized_nodes
from onnx_trtcal.evaluation.variants import Damage, Variants, counted_outputs
from onnx_trtcal.graph.picked_rows import picked_rows
from onnx_trtcal.graph.view import link
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.support.html import html_table
from onnx_trtcal.support.progress_bar import listener_for
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import onnx

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.options import Options
    from onnx_trtcal.support.progress import Listener

__all__ = ["Sensitivity", "Spared", "sensitivity"]

_MOST_KEPT = 8
"""Variants at a time where all of their outputs are kept until the end."""


@dataclass(frozen=True)
class Spared:
    """What the worst groups in floating point buy back.

    Attributes:
        groups: how many of the worst groups stay in floating point.
        last: the name of the last of them.
        damage: with all other groups in INT8.
    """

    groups: int
    last: str
    damage: Damage


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """The groups of a model by the damage INT8 does there. A notebook shows them as a table.

    Attributes:
        samples: number of samples.
        left_out: whether all groups but one were quantized at a time, rather than one alone.
        ranked: the most damaging group first.
        everything: the damage with all groups quantized.
        kept: the damage with the worst one, the worst two, … in floating point.
        fp32: top-1 of the float model; None without labels.
        by: the figure that groups are ranked by; empty for the noise in the outputs.
    """

    samples: int
    left_out: bool
    ranked: tuple[RankedGroup, ...]
    everything: Damage
    kept: tuple[Spared, ...]
    fp32: float | None
    by: str = ""

    def __repr__(self) -> str:
        worst = self.ranked[0].name if self.ranked else "none"
        return f"<Sensitivity of {len(self.ranked)} groups, {self.samples} samples: {worst!r} first>"

    def _repr_html_(self) -> str:
        rows = [(group.name, group.op, group.damage.sqnr) for group in self.ranked]
        return html_table(repr(self)[1:-1], ("group", "op", "worst block SQNR dB"), rows)

    @property
    def exclude(self) -> tuple[str, ...]:
        """What `exclude` takes to leave the worst groups out."""
        return tuple(group.pattern for group in self.ranked[: len(self.kept)])

    @property
    def layer_precisions(self) -> str:
        """What trtexec's `--layerPrecisions` takes to run the worst groups in FP16 in an implicit build.

        trtexec separates layers by commas and a name from its precision by a colon, and has no quoting: layers
        with either in their names are left out.
        """
        from onnx_trtcal.qdq.read.precisions import layer_precisions

        worst = self.ranked[: len(self.kept)]
        return layer_precisions({layer: "fp16" for group in worst for layer in group.layers})


def sensitivity(
    model: str | Path | onnx.ModelProto,
    data: Any,
    request: SensitivityOptions = SensitivityOptions(),
    *,
    listener: Listener | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Ranks the groups of a model by the damage INT8 does there.

    Damage is noise in the worst block of the model's outputs, relative to the block's own power (`fidelity.blocks`).
    Where the request names a metric or the task `detect` or `segment`, it is the change of that figure, and noise only
    where it changes alike. All variants are runs of one session, made batch by batch: the time is about that of
    (groups + 2) inferences of every sample, the memory that of one.

        >>> from onnx_trtcal import Options, SensitivityOptions, sensitivity
        >>> request = SensitivityOptions("models/digits_calib.npy", Options(max_samples=16), worst=1)
        >>> result = sensitivity("models/digits_mlp.onnx", "models/digits_test.npy", request)
        >>> result.samples, len(result.ranked), len(result.exclude)
        (16, 3, 1)

    Args:
        model: the float model.
        data: what to measure damage on, whatever `calibrate` takes; a few dozen samples (`options.max_samples`)
            will do.
        request: where the scales come from, the right answers, and how to go about it.
        listener: receives messages and progress.
        transform: makes of each element of `data`, and of data in the request, what is fed, as in `calibrate`.
        progress: show a bar, where no listener is given.

    Raises:
        CalibrationError: one of its family.
    """
    from onnx_trtcal.graph.model.runnable import compared_line, find_runnable
    from onnx_trtcal.prepared import fold_model
    from onnx_trtcal.scale_source import find_scales

    data, request = transformed(data, transform), with_transform(request, transform)
    options, qdq, leave_out = request.options, request.qdq, request.leave_out
    listener = listener_for(listener, progress=progress)
    asked = read_asked(request)
    given = data if request.source is None else request.source
    simulated = simulated_method(given, options, listener)
    found = find_scales(model, given, simulated, listener, qdq.weight_bits)
    gpu = options.provider != "cpu"
    runnable = find_runnable(found.model, options.until, options.ort_custom_ops, gpu=gpu)
    if runnable.model is not found.model:
        listener.say(compared_line(runnable))
    folded = found.folded if runnable.model is found.model else fold_model(runnable.model)
    given = GivenWeights(scales=found.weight_scales)
    switched = build_switched_graph(folded, found.scales, qdq, found.unseen, given)
    usable = found.scales.keys() - set(found.unseen)
    groups = groups_of(switched)
    everything = quantized_nodes(switched.placement)
    tried = {name: everything - nodes if leave_out else nodes for name, nodes in groups.items()}
    counted = counted_outputs(switched)
    # Where there are several rows for a sample, what has one value a row is not one value a class.
    rows = counted.tensors | picked_rows(switched.source, link(switched.folded)).keys()
    tasks = asked.tasks(
        metadata_of(found.folded.model), tensor_outputs(switched.source), listener, counted=rows
    )
    variants = Variants(switched, choose_provider(options.provider), options, counted, tasks)
    listener.say(f"{many(len(groups), 'group')}, {len(tried) + 2} runs of every batch")
    source = open_source(
        data, switched.model.inputs, options.preprocess, options.max_samples, item_axis=options.item_axis
    )
    calibrated = found.calibration.feeding if found.calibration and request.source is None else None
    source = source.settled(calibrated) if calibrated else variants.settle(source, listener)
    most = _MOST_KEPT if asked.keeps_outputs else None
    first = _run_variants(variants, {**tried, "": everything}, source, options, listener, most)
    for note in variants.notes():
        listener.warn(note)
    if asked.labels is not None and first[""].target is None:
        listener.warn("the labels play no part: no output has one value per class for every sample")
    by = _ranked_by(request, first[""])

    def harm(name: str) -> tuple[float, ...]:
        return (first[name].change if by else 0.0, *first[name].harm)

    order = sorted(groups, key=harm, reverse=not leave_out)
    ranked = tuple(rank_group(switched, name, first[name]) for name in order)
    shown = min(request.worst, len(ranked))
    smaller = {
        str(count): without_groups(switched, ranked[:count], usable, qdq) for count in range(1, shown + 1)
    }
    second = _run_variants(variants, smaller, source, options, listener, most)
    kept = tuple(Spared(count, ranked[count - 1].name, second[str(count)]) for count in range(1, shown + 1))
    fp32 = first[""].top1.fp32 if first[""].top1 else None
    return Sensitivity(variants.samples, leave_out, ranked, first[""], kept, fp32, by)


def _ranked_by(request: SensitivityOptions, everything: Damage) -> str:
    """The figure that groups are ranked by: that of a metric or of `detect` or `segment`; empty for output noise."""
    wanted = request.metric or request.task in ("detect", "segment")
    return everything.target.name if wanted and everything.target else ""


def _run_variants(
    variants: Variants,
    tried: Mapping[str, Iterable[str]],
    source: Source,
    options: Options,
    listener: Listener,
    most: int | None,
) -> dict[str, Damage]:
    """The damage of each variant: all variants of a batch before the next batch.

    One pass over the data, or one for `most` variants each.
    """
    size = batch_size_for(source.feeding, options.batch_size, variants.counted, listener)
    found: dict[str, Damage] = {}
    names = list(tried)
    for start in range(0, len(names), most or len(names)):
        variants.start({name: tried[name] for name in names[start : start + (most or len(names))]})
        with closing(batches(source, size)) as fed, listener.progress(source.count) as advance:
            for batch in fed:
                variants.take(batch)
                advance(batch.count)
        found |= variants.finish()
    return found
