"""Method `easyquant`: per layer the scales of input and weights that change the layer's INT8 output least.

EasyQuant (Wu et al. 2020, arXiv:2006.16669) maximises the mean over the samples of the cosine similarity between a
layer's output in floating point and its output with weights and inputs as integers. Starting from max|x| / 127 and
max|w| / 127 per output channel, the scale of the input is searched with those of the weights held fixed, then those of
the weights with that of the input held fixed, and so on until neither moves. The candidates are those of the paper:
with S = 127 / max|x|, n = 100 factors to multiply x by, evenly spaced over [alpha S, beta S] with alpha = 0.5 and
beta = 2, which are thresholds from twice the largest magnitude down to half of it. Nothing below half can be chosen:
that is the paper's interval, not a limit of the layer. What no weighted layer reads is left to the fallback.

A cache holds the scales of activations alone; a Q/DQ model has those of the weights, too, and with `--weight-bits 7`
they are searched for integers within +-63, as for the kernels of the paper.

Where it goes its own way:

* An output channel's scale is chosen by the cosine of that channel alone, which no other channel's scale changes, over
  all samples taken as one: a product of single rows has one value per channel and sample. Where a
  channel has one weight, every scale has the same cosine, also one that halves the channel: of equal cosines, the least
  squared error counts.
* A tensor has one scale, however many layers read it: the mean of their similarities is maximised. So does a weight
  that several layers read: it keeps max|w| / 127.
* The two inputs of a product of activations are searched in turn, each against the other's current threshold: first
  max|x|, then what was chosen.
* Each layer is run on the network's values in floating point, whatever came before it.
* The first round tries all candidates, later ones the four on either side of the current one. After four rounds it
  ends, moved or not: from there on it goes back and forth between neighbours.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.methods import Chosen
from onnx_trtcal.qdq.weight_scales import WEIGHT_MAX, weight_limit
from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.subgraph import ExportedGraph, Subgraph
from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions, SubgraphRunner, inner, quantized
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.layers import Layer, Weights
    from onnx_trtcal.search.task import Task

__all__ = ["Similarity", "factors", "solve"]

_MOST_SAMPLES = 50  # as many as the paper uses
_MOST_ROUNDS = 4
_SAME = 1e-7  # cosines that differ by less are equal
_NEAR = 4  # candidates on either side that a later round tries
_ALPHA, _BETA, _CANDIDATES = 0.5, 2.0, 100
_KEPT_BYTES = 256 << 20
_NOTHING = np.zeros(0)


def solve(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the outputs of the layers that read it.

    The scales of the layers' weights, as far as they moved, are left in `task.weight_scales`. On at most 50 samples,
    each layer runs 200 to 250 times per sample, and a few times what comes before it. Deterministic for the same
    samples.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    found, samples = task.fallback(), task.samples[:_MOST_SAMPLES]
    layers = layers_of(task.prepared.folded, task.placement)
    readers: dict[tuple[str, ...], list[Layer]] = {}
    sharing: dict[tuple[str, ...], set[str]] = {}
    current: dict[str, float] = {}
    for layer in layers:
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
        f"easyquant: {many(len(readers), 'tensor')} and the layers behind, on {many(len(samples), 'sample')}"
    )
    graph = ExportedGraph(task.prepared.folded, task.prepared.model)
    similarity = Similarity(graph, samples, task.session_options, weight_limit(task.weight_bits))
    uses = Counter(name for layer in layers for name in layer.constants)
    with task.listener.progress(len(readers) * len(samples), "searching") as advance:
        for names, reading in readers.items():
            same = frozenset(sharing[names])
            amax = task.histograms[names[0]].amax
            for near in (False, *[True] * (_MOST_ROUNDS - 1)):
                best = similarity.best(reading, same, current, amax, near=near)
                moved = best is not None and any(current[name] != best for name in same)
                if best is not None:
                    found.update({name: Chosen(best, "") for name in names if name in found})
                    current.update(dict.fromkeys(same, best))
                for layer in reading:
                    if all(uses[name] == 1 for name in layer.constants):
                        moved |= similarity.search_weights(layer, current, near=near)
                if not moved:
                    break
            advance(len(samples))
    task.weight_scales.update(similarity.moved_scales())
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
        limit: the largest magnitude of a weight's integers.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        samples: Sequence[Feeds],
        session_options: SessionOptions,
        limit: int = WEIGHT_MAX,
    ) -> None:
        self._graph = graph
        self._samples = samples
        self._session_options = session_options
        self._limit = limit
        # The current scales of weights, and those that they began with.
        self._scales: dict[str, np.ndarray] = {}
        self._plain: dict[str, np.ndarray] = {}
        # Per channel, the number of the factor that its scale comes from.
        self._places: dict[str, np.ndarray] = {}

    def moved_scales(self) -> dict[str, np.ndarray]:
        """Weight -> its scales, for those whose scales are no longer max|w| / limit."""
        return {
            name: scales
            for name, scales in self._scales.items()
            if not np.array_equal(scales, self._plain[name])
        }

    def best(
        self,
        layers: Sequence[Layer],
        sharing: frozenset[str],
        current: Mapping[str, float],
        amax: float,
        *,
        near: bool = False,
    ) -> float | None:
        """The threshold whose mean similarity is the largest; the largest threshold among equal ones.

        Args:
            layers: those that read one of `sharing`.
            sharing: the tensors that get the threshold.
            current: thresholds of the activations that the layers read.
            amax: the largest magnitude, positive.
            near: try only candidates next to the current one.

        Returns:
            float32 as a float; None where the layers make nothing but zeros.
        """
        thresholds = [float(np.float32(amax / factor)) for factor in factors()]
        if near:
            at = thresholds.index(current[min(sharing)])
            thresholds = thresholds[max(at - _NEAR, 0) : at + _NEAR + 1]
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
        weights = self._weights(layer)
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

    def search_weights(self, layer: Layer, current: Mapping[str, float], *, near: bool = False) -> bool:
        """Gives each output channel of a layer's weight the scale of the greatest similarity.

        Args:
            layer: the layer.
            current: thresholds of the activations that it reads.
            near: try only candidates next to the current ones.

        Returns:
            Whether a scale changed. Of equal similarities, that of the least squared error counts.
        """
        weights = self._weights(layer)
        if len(weights) != 1 or None in (axis for _, axis in layer.constants.values()):
            return False
        (name, (read, _)), *_ = layer.constants.items()
        before = self._scales[name]
        axis = WEIGHTED[kind(layer.node)].output_axes(read.index, weights[name].exact.ndim)[0]
        runner = self._runner(layer, weights)
        places = np.arange(_CANDIDATES)[:, None]
        if near:
            places = np.clip(self._places[name] + np.arange(-_NEAR, _NEAR + 1)[:, None], 0, _CANDIDATES - 1)
        scales = list((self._plain[name] / factors()[places]).astype(np.float32))

        def as_integers(tried: np.ndarray) -> np.ndarray:
            return layer.weights({name: tried}, self._limit)[name].quantized

        # A hundred copies of a large weight may be more than memory holds: they are made anew for every sample.
        small = len(scales) * weights[name].exact.nbytes <= _KEPT_BYTES
        kept = [as_integers(each) for each in scales] if small else []
        products, exact_power, power = (np.zeros((len(scales), before.size)) for _ in range(3))
        for feeds in self._samples:
            arrays = runner.arrays(feeds)
            exact = next(iter(runner.run(arrays, {})), _NOTHING)
            if not exact.size:
                return False
            read_as = {each: quantized(arrays[each], current[each]) for each in layer.activations}
            for place, weight in enumerate(kept or map(as_integers, scales)):
                got = runner.run(arrays, {**read_as, name: weight})[0]
                one, other = _channel_rows(exact, got, axis)
                products[place] += np.einsum("ci,ci->c", one, other)
                exact_power[place] += np.einsum("ci,ci->c", one, one)
                power[place] += np.einsum("ci,ci->c", other, other)
        lengths = np.sqrt(exact_power * power)
        cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        channels = np.arange(before.size)
        errors = exact_power - 2 * products + power
        alike = cosines >= cosines.max(axis=0) - _SAME
        best = np.argmin(np.where(alike, errors, np.inf), axis=0)
        # A channel that is all zero, or that nothing tells apart, keeps its scale.
        told = np.ptp(cosines, axis=0) > 0
        self._places[name] = np.where(
            told, np.broadcast_to(places, cosines.shape)[best, channels], self._places[name]
        )
        self._scales[name] = np.where(told, np.stack(scales)[best, channels], before)
        return not np.array_equal(self._scales[name], before)

    def _weights(self, layer: Layer) -> dict[str, Weights]:
        """The constant operands with their current scales."""
        if not self._plain.keys() >= layer.constants.keys():
            plain = layer.plain_scales(self._limit)
            self._plain.update(plain)
            self._scales.update(plain)
            unchanged = int(np.argmin(np.abs(factors() - 1)))
            self._places.update({name: np.full(scales.size, unchanged) for name, scales in plain.items()})
        return layer.weights(self._scales, self._limit)

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


def _channel_rows(one: np.ndarray, other: np.ndarray, axis: int) -> list[np.ndarray]:
    """Two arrays of one shape as [channels, values], with zeros where either is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    return [
        np.moveaxis(np.where(both, each, 0.0), axis, 0).reshape(one.shape[axis], -1) for each in (one, other)
    ]
