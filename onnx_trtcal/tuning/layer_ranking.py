"""Groups of a model ranked by how much of the noise in its outputs each buys back for what it costs."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.batching import batches
from onnx_trtcal.evaluation.ranked_groups import groups_of, rank_group
from onnx_trtcal.evaluation.row_counts import batch_size_for
from onnx_trtcal.evaluation.switched_graph import build_switched_graph, quantized_nodes
from onnx_trtcal.evaluation.variants import Variants, counted_outputs
from onnx_trtcal.graph.model.runnable import find_runnable
from onnx_trtcal.prepared import fold_model
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.budget import Work, multiply_adds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.evaluation.switched_graph import SwitchedGraph
    from onnx_trtcal.evaluation.variants import Damage
    from onnx_trtcal.tuning.setting import Setting
    from onnx_trtcal.tuning.trials import Trials

__all__ = ["Candidate", "rank_layers"]

# Groups times samples times multiply-adds.
_WORK = 2.0**37
_FEWEST, _UNKNOWN, _MOST = 8, 16, 64


@dataclass(frozen=True)
class Candidate:
    """A group that may stay in floating point.

    Attributes:
        pattern: what `exclude` takes to leave it there.
        gain: the share of the outputs' noise that it makes alone, averaged over their blocks.
        share: of the model's multiply-adds.
        layers: how many Conv, ConvTranspose, Gemm and MatMul it has.
        cost: its share, and that of a layer among all: each has kernels around it that convert.
    """

    pattern: str
    gain: float
    share: float
    layers: int
    cost: float


def rank_layers(trials: Trials, base: Setting) -> list[Candidate]:
    """The groups that INT8 costs anything and that may stay in floating point, the best bargain first.

    Weights are rounded to the nearest for it.

    Raises:
        OutOfTimeError: the budget is used up.
        CalibrationError: one of its family.
    """
    noted = trials.notes.once(f"ranking: {base}", lambda: _ranked(trials, base))
    return [Candidate(**fields) for fields in noted]


def _ranked(trials: Trials, base: Setting) -> list[dict[str, Any]]:
    made = trials.made(base)
    trials.listener.step = "ranking layers"
    options = trials.request.options
    gpu = options.provider != "cpu"
    source = made.source
    runnable = find_runnable(source.model, options.until, options.ort_custom_ops, gpu=gpu)
    folded = source.folded if runnable.model is source.model else fold_model(runnable.model)
    weights = GivenWeights(scales=source.weight_scales)
    switched = build_switched_graph(
        folded, source.scales, base.qdq(trials.request.qdq), source.unseen, weights
    )
    work, quantized = Work(switched.folded), frozenset(switched.placement.quantized)
    every = max(len(quantized), 1)
    all_groups = groups_of(switched)
    groups = {
        anchor: nodes
        for anchor, nodes in all_groups.items()
        if trials.affords(work.share(nodes), len(nodes & quantized))
    }
    if not groups:
        return []
    tried = {**groups, "": quantized_nodes(switched.placement)}
    found = _damages(trials, switched, tried, _samples(switched, len(all_groups)))
    candidates = []
    for anchor, nodes in groups.items():
        layers, share = len(nodes & quantized), work.share(nodes)
        gain = _gain(found[anchor], found[""])
        if gain > 0:
            pattern = rank_group(switched, anchor, found[anchor]).pattern
            cost = share + max(layers, 0.5) / every
            candidates.append(Candidate(pattern, gain, share, layers, cost))
    return [asdict(each) for each in sorted(candidates, key=lambda one: -one.gain / one.cost)]


def _samples(switched: SwitchedGraph, groups: int) -> int:
    """How many samples to rank on: as many as the cost of the model allows."""
    cost = multiply_adds(switched.folded)
    if cost is None:
        return _UNKNOWN
    return min(max(int(_WORK / max(cost * groups, 1)), _FEWEST), _MOST)


def _damages(
    trials: Trials, switched: SwitchedGraph, tried: Mapping[str, frozenset[str]], most: int
) -> dict[str, Damage]:
    """What each group does alone, on the first samples of the half that chooses."""
    options, scorer = trials.request.options, trials.scorer
    counted = counted_outputs(switched)
    variants = Variants(switched, choose_provider(options.provider), options, counted)
    variants.start(tried)
    # By content, so that the order of the data does not matter.
    chosen = sorted(scorer.halves.choosing, key=lambda at: (scorer.hashes[at], at))[:most]
    source = scorer.source.only(chosen)
    size = batch_size_for(source.feeding, options.batch_size, counted, trials.listener)
    with closing(batches(source, size)) as fed, trials.listener.progress(source.count) as advance:
        for batch in fed:
            variants.take(batch)
            advance(batch.count)
    return variants.finish()


def _gain(alone: Damage, everything: Damage) -> float:
    """The share of the noise in each block that one group makes alone, averaged over the blocks that count."""
    shares = []
    for one, all_of_it in zip(alone.blocks, everything.blocks, strict=True):
        if all_of_it.verdict and all_of_it.noise > 0:
            share = one.noise / all_of_it.noise
            shares.append(min(share, 1.0) if math.isfinite(share) else 1.0)
    return sum(shares) / len(shares) if shares else 0.0
