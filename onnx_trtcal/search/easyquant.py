"""Thresholds by `easyquant`: per layer input the scale that turns the layer's INT8 output least.

EasyQuant (Wu et al. 2020, arXiv:2006.16669) maximises the mean over the samples of the cosine similarity
between a layer's output in floating point and its output with weights and inputs in INT8. The candidates are
those of the paper: with S = 127 / max|x|, n = 100 factors to multiply x by, evenly spaced over
[alpha S, beta S] with alpha = 0.5 and beta = 2, which are thresholds from twice the largest magnitude down to
half of it. Nothing below half can be chosen: that is the paper's interval, not a limit of the layer.

Where it goes its own way:

* The paper searches the scales of weights and activations in turn. A calibration cache has no place for
  scales of weights, and TensorRT takes max|w| / 127 per output channel; so do our Q/DQ models. Activations
  are searched against just these weights, which makes one search enough. The two inputs of a product of
  activations are searched in turn, each against the other as it stands: first max|x|, then what was chosen.
* A tensor has one scale, however many layers read it: the mean of their similarities is maximised.
* Each layer is run on the network's values in floating point, whatever came before it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.subgraph import Cutter
from onnx_trtcal.search.subgraph_runner import Feeds, Part, Runner, SessionOptions, inner, quantized
from onnx_trtcal.search.task import Chosen, placement_of, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.layers import Layer
    from onnx_trtcal.search.task import Task

__all__ = ["factors", "search", "similarities", "solve_easyquant"]

_MOST_SAMPLES = 50  # as many as the paper uses
_ALPHA, _BETA, _CANDIDATES = 0.5, 2.0, 100
_NOTHING = np.zeros(0)


def solve_easyquant(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the outputs of the layers that read it.

    On at most 50 samples, each layer runs 100 times per sample, and once what comes before it: together some
    100 runs of the network per sample, one to three times the work of `auto`. Deterministic for the same
    samples.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    plan, found, samples = task.prepared.plan, task.fallback(), task.samples[:_MOST_SAMPLES]
    readers: dict[tuple[str, ...], list[Layer]] = {}
    among: dict[tuple[str, ...], set[str]] = {}
    standing: dict[str, float] = {}
    for layer in layers_of(task.prepared.folded, placement_of(task.prepared)):
        for tensor in layer.activations:
            owner = plan.owners[tensor]
            constant = owner.reason == "constant"
            standing[tensor] = (
                plan.constants[owner.source] if constant else task.histograms[owner.source].amax
            )
            names = together(plan, tensor, task.tensors)
            if names and standing[tensor] > 0:
                among.setdefault(names, set()).add(tensor)
                if layer not in readers.setdefault(names, []):
                    readers[names].append(layer)
    if not readers or not samples:
        return found
    task.listener.say(
        f"easyquant: {len(readers)} tensors, with the layers that read them, on {len(samples)} samples"
    )
    cutter = Cutter(task.prepared.folded, task.prepared.model)
    with task.listener.progress(len(readers) * len(samples), "judging") as advance:
        for names, layers in readers.items():
            same = frozenset(among[names])
            amax = task.histograms[names[0]].amax
            best = search(layers, same, standing, amax, cutter, samples, task.session_options)
            if best is not None:
                found.update({name: Chosen(best, "") for name in names if name in found})
                standing.update(dict.fromkeys(same, best))
            advance(len(samples))
    return found


def factors() -> np.ndarray:
    """What 127 / max|x| is multiplied by: float64[100], rising from 0.5 to 2, 1 among them."""
    return np.linspace(_ALPHA, _BETA, _CANDIDATES)


def search(
    layers: Sequence[Layer],
    among: frozenset[str],
    standing: Mapping[str, float],
    amax: float,
    cutter: Cutter,
    samples: Sequence[Feeds],
    options: SessionOptions,
) -> float | None:
    """The threshold whose mean similarity is the largest; the largest threshold among equal ones.

    Args:
        layers: those that read one of `among`.
        among: the tensors that get the threshold.
        standing: thresholds of the other activations that the layers read.
        amax: the largest magnitude, positive.

    Returns:
        float32 as a float; None where the layers make nothing but zeros.
    """
    thresholds = [float(np.float32(amax / factor)) for factor in factors()]
    each = [similarities(layer, among, standing, thresholds, cutter, samples, options) for layer in layers]
    some = [values for values in each if values is not None]
    return thresholds[int(np.argmax(np.mean(some, axis=0)))] if some else None


def similarities(
    layer: Layer,
    among: frozenset[str],
    standing: Mapping[str, float],
    thresholds: Sequence[float],
    cutter: Cutter,
    samples: Sequence[Feeds],
    options: SessionOptions,
) -> np.ndarray | None:
    """The mean over samples of the cosine of a layer's exact and INT8 output, for each threshold.

    Returns:
        float64[thresholds], or None when every sample's exact output is zero.
    """
    weights = layer.weights()
    reads = {**layer.activations, **{name: (read,) for name, (read, _) in layer.constants.items()}}
    at = next(at for at, node in enumerate(cutter.nodes) if layer.name in node.output)
    part = Part(cutter, [at], reads, [layer.name], known=weights)
    known = {name: each.exact for name, each in weights.items()}
    runner = Runner(part, cutter, samples[0], options, known)
    int8 = {name: each.quantized for name, each in weights.items()}
    total, count = np.zeros(len(thresholds)), 0
    for feeds in samples:
        arrays = runner.arrays(feeds)
        # An output of a type that is compared nowhere, such as bfloat16, is left out by the runner.
        exact = next(iter(runner.run(arrays, {})), _NOTHING)
        if not exact[np.isfinite(exact)].any():
            continue
        count += 1
        others = {
            name: quantized(arrays[name], standing[name]) for name in layer.activations if name not in among
        }
        mine = [name for name in layer.activations if name in among]
        for place, threshold in enumerate(thresholds):
            changed = {name: quantized(arrays[name], threshold) for name in mine}
            total[place] += _cosine(exact, runner.run(arrays, {**int8, **others, **changed})[0])
    return total / count if count else None


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Over the places where both are finite; 0 where one of them is all zero."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.all():
        one, other = one[both], other[both]
    length = math.sqrt(inner(one, one)) * math.sqrt(inner(other, other))
    return inner(one, other) / length if length > 0 else 0.0
