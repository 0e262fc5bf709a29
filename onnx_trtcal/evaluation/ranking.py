"""sensitivity(): which groups of a model INT8 hurts most, and what leaving them in floating point buys back."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.layout import effective_batch_size
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.labels import Labels, read_labels
from onnx_trtcal.evaluation.switched_graph import Switchboard, readers_of, switchboard
from onnx_trtcal.evaluation.variants import Damage, Variants
from onnx_trtcal.options import Options
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.support.progress import Listener, LoggingListener

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import onnx

__all__ = ["Ranked", "Sensitivity", "Spared", "sensitivity"]


@dataclass(frozen=True)
class Ranked:
    """One group: a weighted op with what is fused to it, or an unweighted op that runs in INT8.

    Attributes:
        name: name of its first node, or that node's first output where it has none.
        op: op type of that node.
        pattern: what `exclude` takes to leave it out.
        layers: the names of all its nodes that have one, for `--layerPrecisions`.
        damage: of this group quantized alone, or of all others quantized.
    """

    name: str
    op: str
    pattern: str
    layers: tuple[str, ...]
    damage: Damage


@dataclass(frozen=True)
class Spared:
    """What the model is worth with the worst groups in floating point.

    Attributes:
        groups: how many.
        last: the name of the one added last.
        damage: with all others in INT8.
    """

    groups: int
    last: str
    damage: Damage


@dataclass(frozen=True)
class Sensitivity:
    """The groups of a model by the damage INT8 does there.

    Attributes:
        samples: how many were run.
        left_out: whether each group was left out alone, rather than quantized alone.
        ranked: the most damaging group first.
        everything: the damage with all of them quantized.
        kept: with the worst one, the worst two, … in floating point.
        fp32: top-1 of the float model; None without labels.
    """

    samples: int
    left_out: bool
    ranked: tuple[Ranked, ...]
    everything: Damage
    kept: tuple[Spared, ...]
    fp32: float | None

    @property
    def exclude(self) -> tuple[str, ...]:
        """What `exclude` takes to leave the worst groups out."""
        return tuple(group.pattern for group in self.ranked[: len(self.kept)])

    @property
    def layer_precisions(self) -> str:
        """What trtexec's `--layerPrecisions` takes to run the worst groups in FP16 in an implicit build.

        trtexec separates layers by commas and the name from its precision by a colon, and knows no quoting:
        layers with either in their names are left out.
        """
        from onnx_trtcal.qdq.read.precisions import layer_precisions

        worst = self.ranked[: len(self.kept)]
        return layer_precisions({layer: "fp16" for group in worst for layer in group.layers})


def sensitivity(
    model: str | Path | onnx.ModelProto,
    data: Any,
    source: Any = None,
    options: Options = Options(),
    qdq: QdqOptions = QdqOptions(),  # noqa: B008 (frozen)
    *,
    leave_out: bool = False,
    worst: int = 3,
    labels: str | Path | Labels | None = None,
    output: str = "",
    listener: Listener | None = None,
) -> Sensitivity:
    """Ranks the groups of a model by the damage INT8 does there.

    Damage is noise in the model's outputs. All variants are runs of one session, made batch by batch: the time
    is about that of (groups + 2) inferences of every sample, the memory that of one.

    Args:
        model: the float model.
        data: what to judge on, whatever `calibrate` takes; a few dozen samples (`options.max_samples`) will do.
        source: where the scales come from: other data, a statistics file, a cache; None takes `data` itself.
        options: preprocessing, samples, batch size, provider; how to calibrate and to solve.
        qdq: what is quantized at all.
        leave_out: quantize all but one group, rather than one alone.
        worst: how many groups to try in floating point together.
        labels: right answers, see `labels.read_labels`.
        output: the output that holds one value per class; default: the first that does.
        listener: is told how it goes.

    Raises:
        CalibrationError: one of its family.
    """
    from onnx_trtcal.scale_source import find_scales

    if worst < 1:
        raise OptionError(f"worst is {worst}, wanted a positive number")
    ears = listener or LoggingListener()
    known = labels if isinstance(labels, Labels) or labels is None else read_labels(labels)
    found = find_scales(model, data if source is None else source, options, ears)
    board = switchboard(found.folded, found.scales, qdq)
    groups = _groups(board)
    everything = readers_of(board.placement)
    tried = {name: everything - nodes if leave_out else nodes for name, nodes in groups.items()}
    variants = Variants(board, choose_provider(options.provider), options, known, output)
    ears.say(f"{len(groups)} groups, {len(tried) + 2} runs of every batch")
    first = _judge(variants, {**tried, "": everything}, data, options, ears)
    order = sorted(groups, key=lambda name: first[name].noise_to_signal, reverse=not leave_out)
    ranked = tuple(_ranked(board, name, first[name]) for name in order)
    shown = min(worst, len(ranked))
    smaller = {
        str(count): _without(board, ranked[:count], found.scales, qdq) for count in range(1, shown + 1)
    }
    second = _judge(variants, smaller, data, options, ears)
    kept = tuple(Spared(count, ranked[count - 1].name, second[str(count)]) for count in range(1, shown + 1))
    return Sensitivity(variants.samples, leave_out, ranked, first[""], kept, variants.fp32_accuracy)


def _judge(
    variants: Variants,
    tried: Mapping[str, Iterable[str]],
    data: Any,
    options: Options,
    listener: Listener,
) -> dict[str, Damage]:
    """The damage of each variant: one pass over the data, all variants of a batch before the next batch."""
    inputs = variants.board.model.inputs
    stream = open_source(data, inputs, options.preprocess, options.max_samples)
    size = effective_batch_size(inputs, options.batch_size)
    variants.start(tried)
    with closing(batches(stream, inputs, size)) as fed, listener.progress(stream.count) as advance:
        for batch in fed:
            variants.take(batch)
            advance(batch.count)
    return variants.finish()


def _groups(board: Switchboard) -> dict[str, frozenset[str]]:
    """First output of a group's first node -> its nodes that read anything quantized, in graph order."""
    member = {node: group.anchor for group in board.groups for node in group.nodes}
    found: dict[str, set[str]] = {}
    for node in board.switches:
        found.setdefault(member.get(node, node), set()).add(node)
    return {name: frozenset(nodes) for name, nodes in found.items()}


def _ranked(board: Switchboard, anchor: str, damage: Damage) -> Ranked:
    nodes = next((group.nodes for group in board.groups if group.anchor == anchor), (anchor,))
    name = board.names.get(anchor, anchor)
    # Of a node whose name is also another node's, or an op type, the output says which one is meant.
    unique = list(board.names.values()).count(name) == 1 and name not in board.ops.values()
    layers = tuple(board.names[node] for node in nodes if node in board.names)
    return Ranked(name, board.ops[anchor], name if unique else anchor, layers, damage)


def _without(
    board: Switchboard, worst: Sequence[Ranked], scales: Mapping[str, float], qdq: QdqOptions
) -> frozenset[str]:
    """The nodes that stay quantized when these groups are excluded, as placement then decides."""
    from onnx_trtcal.qdq.place.place import place

    patterns = tuple(group.pattern for group in worst)
    left = replace(qdq, exclude=(*qdq.exclude, *patterns))
    return readers_of(place(board.folded, board.groups, left, scales)) & frozenset(board.switches)
