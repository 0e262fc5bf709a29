"""Method `easyquant`: per layer input the scale that changes the layer's INT8 output least.

EasyQuant (Wu et al. 2020, arXiv:2006.16669) maximises the mean over the samples of the cosine similarity
between a layer's output in floating point and its output with weights and inputs in INT8. The candidates are
those of the paper: with S = 127 / max|x|, n = 100 factors to multiply x by, evenly spaced over
[alpha S, beta S] with alpha = 0.5 and beta = 2, which are thresholds from twice the largest magnitude down to
half of it. Nothing below half can be chosen: that is the paper's interval, not a limit of the layer. What no
weighted layer reads is left to the fallback.

Where it goes its own way:

* The paper searches the scales of weights and activations in turn. A calibration cache does not hold
  scales of weights, and TensorRT takes max|w| / 127 per output channel; so do our Q/DQ models. Activations
  are searched against just these weights, which makes one search enough. The two inputs of a product of
  activations are searched in turn, each against the other's current threshold: first max|x|, then what was
  chosen.
* A tensor has one scale, however many layers read it: the mean of their similarities is maximised.
* Each layer is run on the network's values in floating point, whatever came before it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.methods import Chosen
from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.subgraph import ExportedGraph, Subgraph
from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions, SubgraphRunner, inner, quantized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.layers import Layer, Weights
    from onnx_trtcal.search.task import Task

__all__ = ["Similarity", "factors", "solve"]

_MOST_SAMPLES = 50  # as many as the paper uses
_ALPHA, _BETA, _CANDIDATES = 0.5, 2.0, 100
_NOTHING = np.zeros(0)


def solve(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the outputs of the layers that read it.

    On at most 50 samples, each layer runs 100 times per sample, and once what comes before it: together some
    100 runs of the network per sample, one to three times the work of `auto`. Deterministic for the same
    samples.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    found, samples = task.fallback(), task.samples[:_MOST_SAMPLES]
    readers: dict[tuple[str, ...], list[Layer]] = {}
    sharing: dict[tuple[str, ...], set[str]] = {}
    current: dict[str, float] = {}
    for layer in layers_of(task.prepared.folded, task.placement):
        for tensor in layer.activations:
            current[tensor] = task.amax(tensor)
            names = task.tie_of(tensor)
            if names and current[tensor] > 0:
                sharing.setdefault(names, set()).add(tensor)
                if layer not in readers.setdefault(names, []):
                    readers[names].append(layer)
    if not readers or not samples:
        return found
    task.listener.say(
        f"easyquant: {len(readers)} tensors, with the layers that read them, on {len(samples)} samples"
    )
    similarity = Similarity(
        ExportedGraph(task.prepared.folded, task.prepared.model), samples, task.session_options
    )
    with task.listener.progress(len(readers) * len(samples), "searching") as advance:
        for names, layers in readers.items():
            same = frozenset(sharing[names])
            best = similarity.best(layers, same, current, task.histograms[names[0]].amax)
            if best is not None:
                found.update({name: Chosen(best, "") for name in names if name in found})
                current.update(dict.fromkeys(same, best))
            advance(len(samples))
    return found


def factors() -> np.ndarray:
    """What 127 / max|x| is multiplied by: float64[100], rising from 0.5 to 2, 1 among them."""
    return np.linspace(_ALPHA, _BETA, _CANDIDATES)


class Similarity:
    """Runs single layers in INT8, and measures how similar their outputs are to the exact ones.

    Args:
        graph: the folded graph.
        samples: one feed per sample.
        session_options: as for Session.
    """

    def __init__(
        self, graph: ExportedGraph, samples: Sequence[Feeds], session_options: SessionOptions
    ) -> None:
        self._graph = graph
        self._samples = samples
        self._session_options = session_options

    def best(
        self, layers: Sequence[Layer], sharing: frozenset[str], current: Mapping[str, float], amax: float
    ) -> float | None:
        """The threshold whose mean similarity is the largest; the largest threshold among equal ones.

        Args:
            layers: those that read one of `sharing`.
            sharing: the tensors that get the threshold.
            current: thresholds of the other activations that the layers read.
            amax: the largest magnitude, positive.

        Returns:
            float32 as a float; None where the layers make nothing but zeros.
        """
        thresholds = [float(np.float32(amax / factor)) for factor in factors()]
        each = [self.of(layer, sharing, current, thresholds) for layer in layers]
        some = [values for values in each if values is not None]
        return thresholds[int(np.argmax(np.mean(some, axis=0)))] if some else None

    def of(
        self,
        layer: Layer,
        sharing: frozenset[str],
        current: Mapping[str, float],
        thresholds: Sequence[float],
    ) -> np.ndarray | None:
        """The mean over samples of the cosine of a layer's exact and INT8 output, for each threshold.

        Returns:
            float64[thresholds], or None when every sample's exact output is zero.
        """
        weights = layer.weights()
        runner = self._runner(layer, weights)
        int8 = {name: each.quantized for name, each in weights.items()}
        total, count = np.zeros(len(thresholds)), 0
        for feeds in self._samples:
            arrays = runner.arrays(feeds)
            # An output of a type that is compared nowhere, such as bfloat16, is left out by the runner.
            exact = next(iter(runner.run(arrays, {})), _NOTHING)
            if not exact[np.isfinite(exact)].any():
                continue
            count += 1
            others = {
                name: quantized(arrays[name], current[name])
                for name in layer.activations
                if name not in sharing
            }
            mine = [name for name in layer.activations if name in sharing]
            for place, threshold in enumerate(thresholds):
                changed = {name: quantized(arrays[name], threshold) for name in mine}
                total[place] += _cosine(exact, runner.run(arrays, {**int8, **others, **changed})[0])
        return total / count if count else None

    def _runner(self, layer: Layer, weights: Mapping[str, Weights]) -> SubgraphRunner:
        """Runs the layer alone, so that all it reads can be replaced."""
        reads = {**layer.activations, **{name: (read,) for name, (read, _) in layer.constants.items()}}
        at = next(at for at, node in enumerate(self._graph.nodes) if layer.name in node.output)
        subgraph = Subgraph(self._graph, [at], reads, [layer.name], known=weights)
        known = {name: each.exact for name, each in weights.items()}
        return SubgraphRunner(subgraph, self._samples[0], self._session_options, known)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Over the places where both are finite; 0 where one of them is all zero."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.all():
        one, other = one[both], other[both]
    length = math.sqrt(inner(one, one)) * math.sqrt(inner(other, other))
    return inner(one, other) / length if length > 0 else 0.0
