"""Method `auto`: per tensor the threshold that disturbs the network's outputs least, found by running it.

For every tensor that an INT8 kernel reads, and every candidate threshold (those of the other methods, and a
geometric grid below the largest magnitude), the network runs with this one tensor quantized and everything
else in floating point. The score is the error power at the outputs relative to their own power, over a few
dozen samples. Errors of different tensors add up nearly independently, so the best threshold of each is
near the best of all together. Scores of neighbouring thresholds are smoothed before the least is taken:
rounding error is a matter of luck on few samples, clipping error is not.

Tensors that no INT8 kernel reads, such as outputs of the network, are left to the fallback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.output_blocks import output_blocks
from onnx_trtcal.methods import Chosen, parse_method
from onnx_trtcal.search.output_error import OutputError, comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.search.task import Task
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["METHODS_TRIED", "candidates", "choose", "smoothed", "solve"]

METHODS_TRIED = ("mse", "minmax", "entropy", "percentile:99.99", "percentile:99.999")
_STEPS_PER_OCTAVE = 4
_OCTAVES = 3.5
# How far below the smallest method's threshold the grid still goes.
_BELOW = 0.6
_BANDWIDTH = 0.25  # octaves
_RIDGE = 1e-3  # keeps the fit defined where there are fewer neighbours than coefficients
# Unseen samples reach further than those at hand: of thresholds whose errors differ by less than a twentieth,
# the larger one is safer.
_ALIKE = 0.05


def solve(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the network's outputs.

    Per tensor and sample that is one run of the network, and up to 19 of the subgraph behind the tensor, mostly
    about ten. In CPU time: 45 seconds for squeezenet1.1 (0.35 billion multiply-adds, 18 tensors), 2 for a
    keyword spotter of 2.7 million. `most_samples` keeps it below a minute up to half a billion; from there
    on it grows with the model. Deterministic for the same samples; only one sample's activations are alive
    at a time.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    wanted = task.quantized_reads()
    found, samples, listener = task.fallback(), task.samples, task.listener
    if not wanted or not samples:
        return found
    listener.say(f"auto: {len(wanted)} tensors, each quantized alone on {len(samples)} samples")
    graph = ExportedGraph(task.prepared.folded, task.prepared.model)
    prepared = task.prepared
    layouts = output_blocks(prepared.model, prepared.folded, comparable_outputs(graph))
    output_error = OutputError(graph, samples, task.session_options, layouts)
    with listener.progress(len(wanted) * len(samples), "searching") as advance:
        for names, activations in wanted.items():
            tried = candidates(task.histograms[names[0]])
            best = choose(tried, output_error.of(activations, tried)) if len(tried) > 1 else None
            if best is not None:
                found.update({name: Chosen(tried[best], best) for name in names if name in found})
            advance(len(samples))
    return found


def candidates(histogram: Histogram) -> dict[str, float]:
    """Thresholds by name: those of the methods, then amax * 2^(-k/4) as `amax*0.841` and so on.

    The grid ends 3.5 octaves below amax, or at 0.6 times the smallest threshold of a method. Thresholds
    that are equal appear once, under the first name. An all-zero tensor has the one candidate 0.
    """
    found: dict[str, float] = {}
    for text in METHODS_TRIED:
        _add(found, text, parse_method(text).solve(histogram))
    floor = _BELOW * min(found.values())
    for k in range(1, int(_STEPS_PER_OCTAVE * _OCTAVES) + 1):
        share = 2 ** (-k / _STEPS_PER_OCTAVE)
        if histogram.amax * share < floor:
            break
        _add(found, f"amax*{share:.3f}", float(np.float32(histogram.amax * share)))
    return found


def _add(found: dict[str, float], name: str, threshold: float) -> None:
    if threshold not in found.values():
        found[name] = threshold


def choose(thresholds: Mapping[str, float], errors: Mapping[str, float]) -> str | None:
    """The candidate with the largest threshold among those with about the least smoothed error.

    About means within a twentieth: so much is luck, and unseen samples are clipped more than those at hand.

    Args:
        thresholds: candidate -> threshold, positive.
        errors: candidate -> relative error power, for some or all of the candidates.

    Returns:
        The candidate's name; None where no candidate makes any difference.
    """
    if not errors or max(errors.values()) <= 0:
        return None
    values = smoothed({name: thresholds[name] for name in errors}, errors)
    limit = min(values.values()) + _ALIKE
    return max((name for name in values if values[name] <= limit), key=lambda name: thresholds[name])


def smoothed(thresholds: Mapping[str, float], errors: Mapping[str, float]) -> dict[str, float]:
    """log(error) at each candidate, on a parabola fitted to it and its neighbours over log2(threshold).

    Local quadratic regression (Cleveland and Devlin 1988, doi:10.1080/01621459.1988.10478639) with Gaussian
    weights, a standard deviation of a quarter of an octave. A candidate without error counts as one of
    1e-12 of the largest error.
    """
    names = list(errors)
    x = np.log2(np.array([thresholds[name] for name in names], dtype=np.float64))
    e = np.array([errors[name] for name in names], dtype=np.float64)
    y = np.log(np.maximum(e, 1e-12 * e.max()))
    found = {}
    for name, at in zip(names, x, strict=True):
        weight = np.exp(-0.25 * ((x - at) / _BANDWIDTH) ** 2)  # square root of the Gaussian weight
        powers = np.stack([np.ones_like(x), x - at, (x - at) ** 2], axis=1)
        # The level is left out of the ridge, so that the units of the error do not matter.
        system = np.concatenate([powers * weight[:, None], _RIDGE * np.eye(3)[1:]])
        wanted = np.concatenate([y * weight, np.zeros(2)])
        found[name] = float(np.linalg.lstsq(system, wanted, rcond=None)[0][0])
    return found
