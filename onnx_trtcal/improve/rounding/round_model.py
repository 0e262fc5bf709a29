"""round_weights(): second-order rounding and bias correction of a whole model, layer by layer.

The layers come in running order, each with the inputs that it gets from the quantized net so far. Two graphs run side
by side over the same samples: the float one, whose layer outputs are what is wanted, and the quantized one, in which
each layer is settled before the next one is looked at. Two samples of three are for finding integers and biases; a
layer keeps what was found only where the error of its output, behind its activation, falls on the others. So does the
whole model, by its outputs: without the biases where they spoil them, and as it was where nothing helps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.distance import decibels
from onnx_trtcal.improve.rounding.chains import Chains
from onnx_trtcal.improve.rounding.layer import RoundedLayer, rounded_layers
from onnx_trtcal.improve.rounding.one_layer import (
    Codes,
    LayerRun,
    WeightedRun,
    error_power,
    find_codes,
    shift_of,
)
from onnx_trtcal.improve.rounding.stacks import most_together, stack_samples
from onnx_trtcal.qdq.given_weights import GivenBias, GivenWeights
from onnx_trtcal.qdq.weight_scales import broadcast_scales, quantize_weight, weight_limit
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.support.blas import one_blas_thread
from onnx_trtcal.support.temporary_folder import TemporaryFolder
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.improve.rounding.stacks import Stacks
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.scale_source import ScaleSource
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["FEWEST_SAMPLES", "Rounding", "held_back", "most_samples", "round_weights"]

FEWEST_SAMPLES = 2
"""One to find integers on, one held back."""

# One sample of so many is held back.
_SHARE = 3
# Samples times multiply-adds: some seconds for each of the five times that every layer runs.
_WORK, _UNKNOWN, _FEWEST, _MOST = 2.0**33, 32, 16, 96


@dataclass(frozen=True)
class Rounding:
    """What became of a model's weights.

    Attributes:
        given: what the Q/DQ model is to be written with.
        layers: how many layers there were to round.
        rounded: how many keep the integers that were found.
        corrected: how many keep the shift of their bias.
        before: noise power over signal power, the mean over the blocks of the outputs, on the samples held back, with
            the nearest integers.
        after: the same with `given`.
    """

    given: GivenWeights
    layers: int
    rounded: int
    corrected: int
    before: float
    after: float

    def __str__(self) -> str:
        """What was kept, and what it is worth on the samples held back."""
        if not (self.rounded or self.corrected):
            return f"rounding: nothing helps on the samples held back, {self.layers} layers stay as they were"
        return (
            f"rounding: kept in {self.rounded} of {many(self.layers, 'layer')}, bias corrected in {self.corrected}; "
            f"outputs {decibels(1.0, self.before):.1f} -> {decibels(1.0, self.after):.1f} dB on the samples held back"
        )


def most_samples(cost: int | None) -> int:
    """How many samples to round on: 96, and down to 16 for a model of more than 0.1 billion multiply-adds.

    Args:
        cost: the model's multiply-adds per sample; None where they are not known.
    """
    return _UNKNOWN if cost is None else int(min(max(_WORK / max(cost, 1), _FEWEST), _MOST))


def held_back(count: int) -> tuple[list[int], list[int]]:
    """The samples to find integers on, and those held back: every third, the second of two."""
    back = [at for at in range(count) if at % _SHARE == min(_SHARE, count) - 1]
    return [at for at in range(count) if at not in back], back


def round_weights(
    found: ScaleSource,
    samples: Sequence[Mapping[str, np.ndarray]],
    qdq: QdqOptions,
    session_options: SessionOptions,
    listener: Listener,
) -> Rounding:
    """Integers and biases for the weights of a model that is to be quantized.

    Args:
        found: the float model and its scales; not changed.
        samples: one feed per sample, at least two, in an order that does not depend on the data's.
        qdq: how the Q/DQ model will be written.
        session_options: as for Session.
        listener: receives progress.

    Raises:
        ModelError: nothing can be quantized, or ONNX Runtime cannot run the model.
    """
    searched = GivenWeights(scales=found.weight_scales)
    # As it will be written: float16 rounds scales up.
    written = quantize_model(found.model, found.scales, qdq, found.unseen, searched).inserted
    weight_scales = {
        name: np.asarray(scale, np.float32).reshape(-1) for name, scale in written.weight_scales.items()
    }
    quantized = quantize_model(
        found.model,
        {**found.scales, **written.scales},
        replace(qdq, high_precision="fp32", weights="int8"),
        found.unseen,
        GivenWeights(scales=weight_scales),
    )
    layers = rounded_layers(found.folded.folded, found.folded.groups, quantized.placement)
    limit = weight_limit(qdq.weight_bits)
    graph = ExportedGraph(found.folded.folded, found.folded.model)
    together = most_together(graph, layers, samples, session_options)
    stacks = stack_samples(samples, *held_back(len(samples)), together)
    before = 0.0
    for biases in (True, False):
        with TemporaryFolder() as folder:
            chains = Chains(found.folded, quantized, stacks.feeds, session_options, folder)
            rounder = _Rounder(chains, stacks, weight_scales, limit, biases=biases)
            with one_blas_thread(), listener.progress(len(layers), "rounding") as advance:
                for layer in chains.ordered(layers):
                    rounder.round(layer)
                    advance(1)
            before, after = chains.output_errors(stacks.back)
            chains.close()
        if after < before:
            given = GivenWeights(weight_scales, rounder.integers, rounder.biases)
            return Rounding(given, len(layers), len(rounder.integers), len(rounder.biases), before, after)
        if not rounder.biases:
            break
    return Rounding(searched, len(layers), 0, 0, before, before)


class _Rounder:
    """Settles layer after layer, and notes what was found.

    Args:
        chains: both graphs, which run stacks.
        stacks: the samples.
        weight_scales: weight -> its scales.
        limit: the largest magnitude of an integer.
        biases: whether to correct them.

    Attributes:
        integers: weight -> those that were kept.
        biases: first output of a node -> the bias that was kept.
    """

    def __init__(
        self,
        chains: Chains,
        stacks: Stacks,
        weight_scales: Mapping[str, np.ndarray],
        limit: int,
        *,
        biases: bool,
    ) -> None:
        self._chains, self._scales, self._limit, self._corrects = chains, weight_scales, limit, biases
        self._fit, self._back = stacks.fit, stacks.back
        self._counts = [stacks.counts[at] for at in stacks.fit]
        self.integers: dict[str, np.ndarray] = {}
        self.biases: dict[str, GivenBias] = {}

    def round(self, layer: RoundedLayer) -> None:
        """Settles a layer, and runs it."""
        exact, int8 = self._chains.exact, self._chains.int8
        exact.advance([layer.output])
        int8.advance(self._chains.reads(layer))
        name, axis, dtype = layer.weight.tensor, layer.weight.axis, layer.values.dtype
        along = broadcast_scales(self._scales[name], axis, layer.values.ndim)
        nearest = Codes(quantize_weight(layer.values, self._scales[name], axis, self._limit), along)
        run = LayerRun(layer, int8, nearest.values(dtype))

        def target(stack: int) -> np.ndarray:
            return exact.feeds(stack)[layer.output]

        def error(tried: WeightedRun, shift: np.ndarray | None) -> float:
            return sum(error_power(tried.output(each, shift), target(each)) for each in self._back)

        best, shift = run.by(nearest.values(dtype)), None
        least = error(best, None)
        read = self._chains.integers(layer, self._fit)
        found = None if read is None else find_codes(layer, nearest, read, self._counts, self._limit)
        if found is not None:
            by_found = run.by(found.values(dtype))
            if (power := error(by_found, None)) < least:
                best, least = by_found, power
                self.integers[name] = found.integers
            del by_found  # of the two, only what the better one has made stays in memory
        if layer.bias is not None and self._corrects:
            tried = shift_of(layer, best, target, self._fit, self._counts)
            if tried.any() and error(best, tried) < least:
                shift = tried
                self.biases[layer.bias.node] = GivenBias(layer.bias.index, layer.bias.shifted(shift))
        nodes = [int8.position(each) for each in layer.nodes]
        everything = range(len(int8.samples))
        int8.put(nodes, layer.output, (best.output(stack, shift) for stack in everything))
        self._chains.sweep()
