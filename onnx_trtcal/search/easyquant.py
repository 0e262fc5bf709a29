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
* The first round tries every eleventh candidate and then some around the best, unless the layer is so small that all
  of them take no time; later rounds try those next to the current one. After four rounds it ends, moved or not: from
  there on it goes back and forth between neighbours.
* What weights come to is worked out from sums over what the layer reads (`channel_moments`), without running it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.methods import Chosen
from onnx_trtcal.qdq.weight_scales import weight_limit
from onnx_trtcal.search.budget import default_runs
from onnx_trtcal.search.candidates import UNCHANGED, best_places, factors
from onnx_trtcal.search.layer_values import LayerValues
from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.similarity import LayerSimilarity, tensors_of
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.search.workers import Workers
from onnx_trtcal.support.blas import one_blas_thread
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.search.layers import Layer
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.search.task import Task

__all__ = ["solve"]

_MOST_SAMPLES = 50  # as many as the paper uses
_FEWEST_SAMPLES = 16
# Of each layer about 25, each of which takes longer than in a run of the whole network: it is compared, too.
_RUNS_PER_SAMPLE = 40
_MOST_ROUNDS = 4
_KEPT_BYTES = 256 << 20


def solve(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the outputs of the layers that read it.

    The scales of the layers' weights, as far as they moved, are left in `task.weight_scales`. On 16 to 50 samples, as
    many as ten runs of the network for every sample that was calibrated with allow, each layer runs 20 to 40 times per
    sample. Deterministic for the same samples.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    found = task.fallback()
    allowed = max(int(default_runs(task.counted) / _RUNS_PER_SAMPLE), _FEWEST_SAMPLES)
    samples = task.samples[: min(allowed, _MOST_SAMPLES)]
    layers = layers_of(task.prepared.folded, task.placement)
    current = {tensor: task.amax(tensor) for layer in layers for tensor in layer.activations}
    steps = _steps(task, layers, current)
    if not steps or not samples:
        return found
    task.listener.say(
        f"easyquant: {many(len(steps), 'tensor')} and the layers behind, on {many(len(samples), 'sample')}"
    )
    graph = ExportedGraph(task.prepared.folded, task.prepared.model)
    tensors = [
        tuple(dict.fromkeys(name for layer in reading for name in tensors_of(graph, layer)))
        for reading in steps.values()
    ]
    kept = task.prepared.options.memory_limit or _KEPT_BYTES
    uses = Counter(name for layer in layers for name in layer.constants)
    provider, threads, custom_ops = task.session_options
    one_thread: SessionOptions = (provider, 1, custom_ops)  # the workers are the threads
    with (
        one_blas_thread(),
        Workers(threads) as workers,
        task.listener.progress(len(steps) * len(samples), "searching") as advance,
    ):
        values = LayerValues(graph, tensors, samples, task.session_options, kept)
        similarity = LayerSimilarity(
            graph, values, len(samples), one_thread, workers, limit=weight_limit(task.weight_bits)
        )
        for step, (names, reading) in enumerate(steps.items()):
            same = frozenset(
                tensor for layer in reading for tensor in layer.activations if task.tie_of(tensor) == names
            )
            search = _Search(similarity, step, reading, same, task.histograms[names[0]].amax)
            own = [layer for layer in reading if all(uses[name] == 1 for name in layer.constants)]
            for near in (False, *[True] * (_MOST_ROUNDS - 1)):
                moved = search.threshold(current, near=near)
                for layer in own:
                    moved |= similarity.search_weights(step, layer, current, near=near)
                if not moved:
                    break
            if search.found is not None:
                found.update({name: Chosen(search.found, "") for name in names if name in found})
            advance(len(samples))
    task.weight_scales.update(similarity.moved_scales())
    return found


def _steps(
    task: Task, layers: Sequence[Layer], amax: Mapping[str, float]
) -> dict[tuple[str, ...], list[Layer]]:
    """Observed tensors that share a threshold -> the layers that read them, in graph order."""
    found: dict[tuple[str, ...], list[Layer]] = {}
    for layer in layers:
        for tensor in layer.activations:
            names = task.tie_of(tensor)
            if names and amax[tensor] > 0 and layer not in found.setdefault(names, []):
                found[names].append(layer)
    return found


class _Search:
    """Looks for the threshold of some tensors.

    Args:
        similarity: measures layers.
        step: which of its steps this is.
        layers: those that read the tensors.
        same: the tensors.
        amax: their largest magnitude, positive.

    Attributes:
        found: the threshold, float32 as a float; None where the layers make nothing but zeros.
    """

    def __init__(
        self,
        similarity: LayerSimilarity,
        step: int,
        layers: Sequence[Layer],
        same: frozenset[str],
        amax: float,
    ) -> None:
        self._similarity, self._step, self._layers, self._same = similarity, step, layers, same
        self._thresholds = [float(np.float32(amax / factor)) for factor in factors()]
        self._place = np.array([UNCHANGED])
        self._thorough = similarity.thorough(layers)
        self.found: float | None = None

    def threshold(self, current: dict[str, float], *, near: bool) -> bool:
        """Finds the threshold whose mean similarity is the largest; the largest threshold among equal ones.

        Args:
            current: thresholds of the activations that the layers read; the new one is noted there.
            near: try only candidates next to the current one.

        Returns:
            Whether it changed.
        """
        blank = False

        def measure(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal blank
            tried = [self._thresholds[place] for place in places[:, 0]]
            each = [
                self._similarity.of(self._step, layer, self._same, current, tried) for layer in self._layers
            ]
            some = [values for values in each if values is not None]
            blank = not some
            means = np.mean(some, axis=0) if some else np.zeros(len(tried))
            return means[:, None], places.astype(np.float64)

        self._place = best_places(measure, self._place, 0.0, near=near, thorough=self._thorough)
        if blank:
            return False
        before, self.found = self.found, self._thresholds[int(self._place[0])]
        current.update(dict.fromkeys(self._same, self.found))
        return self.found != before
