"""round_weights(): second-order rounding and bias correction of a whole model, layer by layer.

The layers come in running order, each with the inputs that it gets from the quantized net so far. Two graphs run side
by side over the same samples: the float one, whose layer outputs are what is wanted, and the quantized one, in which
each layer is settled before the next one is looked at. Two samples of three are for finding integers and biases; a
layer keeps what was found only where the error of its output, behind its activation, falls on the others. So does the
whole model, by its outputs: without the biases where they spoil them, and as it was where nothing helps.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.ops import COMMUTES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.improve.rounding.chain import Chain, Step
from onnx_trtcal.improve.rounding.layer import RoundedLayer, rounded_layers
from onnx_trtcal.improve.rounding.one_layer import Codes, LayerRun, find_codes, shift_of
from onnx_trtcal.improve.rounding.output_noise import OutputNoise, power
from onnx_trtcal.improve.rounding.tensor_files import TensorFiles
from onnx_trtcal.qdq.given_weights import GivenBias, GivenWeights
from onnx_trtcal.qdq.weight_scales import WEIGHT_MAX, broadcast_scales, quantize_weight, weight_limit
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.search.output_error import comparable_outputs
from onnx_trtcal.search.subgraph import ExportedGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.prepared import FoldedModel
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.qdq.write.quantize_model import Quantized
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["FEWEST_SAMPLES", "Rounded", "held_back", "most_samples", "round_weights"]

Feeds = "Mapping[str, np.ndarray]"

FEWEST_SAMPLES = 2
"""One to find integers on, one held back."""

# One sample of so many is held back.
_SHARE = 3
# Samples times multiply-adds: some seconds for each of the five times that every layer runs.
_WORK, _UNKNOWN, _FEWEST, _MOST = 2.0**34, 32, 16, 96


@dataclass(frozen=True)
class Rounded:
    """What became of a model's weights.

    Attributes:
        given: what the Q/DQ model is to be written with.
        layers: how many layers there were to round.
        rounded: how many keep the integers that were found.
        corrected: how many keep the shift of their bias.
        before: noise power over signal power at the outputs on the samples held back, with the nearest integers.
        after: the same with `given`.
    """

    given: GivenWeights
    layers: int
    rounded: int
    corrected: int
    before: float
    after: float


def most_samples(cost: int | None) -> int:
    """How many samples to round on: 96, and down to 16 for a model of more than 0.2 billion multiply-adds.

    Args:
        cost: the model's multiply-adds per sample; None where they are not known.
    """
    return _UNKNOWN if cost is None else int(min(max(_WORK / max(cost, 1), _FEWEST), _MOST))


def held_back(count: int) -> tuple[list[int], list[int]]:
    """The samples to find integers on, and those held back: every third, the second of two."""
    back = [at for at in range(count) if at % _SHARE == min(_SHARE, count) - 1]
    return [at for at in range(count) if at not in back], back


def round_weights(
    float_model: FoldedModel,
    scales: Mapping[str, float],
    unseen: Collection[str],
    samples: Sequence[Mapping[str, np.ndarray]],
    qdq: QdqOptions,
    session_options: SessionOptions,
    listener: Listener,
) -> Rounded:
    """Integers and biases for the weights of a model that is to be quantized.

    Args:
        float_model: the float model, folded; not changed.
        scales: tensor -> scale.
        unseen: tensors whose scale is made up.
        samples: one feed per sample, at least two, in an order that does not depend on the data's.
        qdq: how the Q/DQ model will be written.
        session_options: as for Session.
        listener: receives progress.

    Raises:
        ModelError: nothing can be quantized, or ONNX Runtime cannot run the model.
    """
    # As it will be written: float16 rounds scales up.
    written = quantize_model(float_model.model, scales, qdq, unseen)
    exact_scales = {**scales, **written.inserted.scales}
    plain = replace(qdq, high_precision="fp32", weights="int8")
    weight_scales = {
        name: np.asarray(scale, np.float32).reshape(-1) for name, scale in written.inserted.weight_scales.items()
    }
    nearest = GivenWeights(scales=weight_scales)
    quantized = quantize_model(float_model.model, exact_scales, plain, unseen, nearest)
    layers = rounded_layers(float_model.folded, float_model.groups, quantized.placement)
    best = Rounded(GivenWeights(), len(layers), 0, 0, 0.0, 0.0)
    for biases in (True, False):
        with tempfile.TemporaryDirectory(prefix="onnx_trtcal-") as folder:
            rounder = _Rounder(float_model, quantized, weight_scales, samples, session_options, Path(folder))
            rounder.limit, rounder.biased = weight_limit(qdq.weight_bits), biases
            with listener.progress(len(layers), "rounding") as advance:
                for layer in rounder.ordered(layers):
                    rounder.round(layer)
                    advance(1)
            before, after = rounder.output_errors()
            rounder.close()
        if after < before:
            given = GivenWeights(weight_scales, rounder.integers, rounder.biases)
            return Rounded(given, len(layers), len(rounder.integers), len(rounder.biases), before, after)
        best = replace(best, before=before, after=before)
    return best


class _Rounder:
    """The two chains, and what was decided so far."""

    def __init__(
        self,
        float_model: FoldedModel,
        quantized: Quantized,
        weight_scales: Mapping[str, np.ndarray],
        samples: Sequence[Mapping[str, np.ndarray]],
        options: SessionOptions,
        folder: Path,
    ) -> None:
        self.limit, self.biased = WEIGHT_MAX, True
        self._weight_scales = weight_scales
        self._fit, self._back = held_back(len(samples))
        for name in ("float", "quantized"):
            (folder / name).mkdir()
        self._files = [TensorFiles(folder / "float"), TensorFiles(folder / "quantized")]
        graphs = [
            ExportedGraph(float_model.folded, float_model.model),
            ExportedGraph(quantized.graph, quantized.model),
        ]
        self._exact, self._int8 = (
            Chain(graph, samples, files, options) for graph, files in zip(graphs, self._files, strict=True)
        )
        self._tensors = quantized.graph.tensors()
        self.integers: dict[str, np.ndarray] = {}
        self.biases: dict[str, GivenBias] = {}

    def close(self) -> None:
        """Removes all files."""
        for files in self._files:
            files.close()

    def ordered(self, layers: Sequence[RoundedLayer]) -> Iterator[RoundedLayer]:
        """The layers, each behind those that make what it or its kernel's residual reads."""
        chain = self._int8
        by_node = {chain.position(layer.name): layer for layer in layers}
        done: set[int] = set()

        def visit(layer: RoundedLayer) -> Iterator[RoundedLayer]:
            at = chain.position(layer.name)
            if at in done:
                return
            done.add(at)
            for before in chain.needed(self._reads(layer)):
                if before in by_node and before not in done:
                    yield from visit(by_node[before])
            yield layer

        for layer in layers:
            yield from visit(layer)

    def round(self, layer: RoundedLayer) -> None:
        """Settles a layer, and runs it."""
        exact, int8 = self._exact, self._int8
        exact.advance([layer.output])
        int8.advance(self._reads(layer))
        scales = self._weight_scales[layer.weight.tensor]
        along = broadcast_scales(scales, layer.weight.axis, layer.values.ndim)
        nearest = Codes(quantize_weight(layer.values, scales, layer.weight.axis, self.limit), along)
        dtype = layer.values.dtype
        run = LayerRun(layer, int8, nearest.values(dtype))

        def target(sample: int) -> np.ndarray:
            return exact.feeds(sample)[layer.output]

        best, shift = nearest, None
        least = self._error(run, nearest.values(dtype), None, target)
        found = self._found(layer, nearest)
        if found is not None:
            error = self._error(run, found.values(dtype), None, target)
            if error < least:
                best, least = found, error
                self.integers[layer.weight.tensor] = found.integers
        if layer.bias is not None and self.biased:
            tried = shift_of(layer, run, best.values(dtype), target, self._fit)
            if tried.any() and self._error(run, best.values(dtype), tried, target) < least:
                shift = tried
                self.biases[layer.bias.node] = GivenBias(layer.bias.index, layer.bias.shifted(shift))
        weight = best.values(dtype)
        int8.put(
            [int8.position(name) for name in layer.nodes],
            layer.output,
            (run.output(sample, weight, shift) for sample in range(len(int8.samples))),
        )
        exact.sweep()
        int8.sweep()

    def output_errors(self) -> tuple[float, float]:
        """Noise over signal power at the outputs on the samples held back: with the nearest integers, and now."""
        exact, int8 = self._exact, self._int8
        names = [name for name in comparable_outputs(exact.graph) if name in int8.graph.outputs]
        exact.advance(names)
        int8.advance(names)
        nodes = int8.with_free(range(len(int8.graph.nodes)))
        whole = Step(int8.graph, nodes, names, int8.samples[0], int8.options)
        before, after = OutputNoise(len(names)), OutputNoise(len(names))
        for sample in self._back:
            wanted = [exact.feeds(sample)[name] for name in names]
            before.add(wanted, whole.run(int8.samples[sample]))
            after.add(wanted, [int8.feeds(sample)[name] for name in names])
        return before.relative(), after.relative()

    def _found(self, layer: RoundedLayer, nearest: Codes) -> Codes | None:
        """The integers that GPTQ finds; None where the layer's input is not on one grid of integers."""
        name = self._int8.graph.nodes[self._int8.position(layer.name)].input[layer.activation_slot]
        grid = self._grid(name)
        if layer.rows is None or grid is None:
            return None
        source, scale = grid

        def integers() -> Iterator[np.ndarray]:
            for sample in self._fit:
                array = self._int8.feeds(sample)[source]
                yield array if array.dtype == np.int8 else np.rint(array.astype(np.float32) / scale)

        return find_codes(layer, nearest, integers(), len(self._fit), self.limit)

    def _grid(self, name: str) -> tuple[str, np.float32] | None:
        """What waits in files of a tensor that a layer reads, and the scale of its integers."""
        source, tensor = name, self._tensors[name]
        while tensor.inputs:
            node = tensor.inputs[0]
            if kind(node) == "DequantizeLinear":
                return (node.inputs[0].name if tensor.name == name else source), np.float32(node.inputs[1].values)
            if kind(node) not in COMMUTES:
                return None
            tensor = node.inputs[0]
        return None

    def _error(
        self,
        run: LayerRun,
        weight: np.ndarray,
        shift: np.ndarray | None,
        target: Callable[[int], np.ndarray],
    ) -> float:
        """The error power of a layer's output on the samples held back."""
        return sum(power(run.output(sample, weight, shift), target(sample)) for sample in self._back)

    def _reads(self, layer: RoundedLayer) -> list[str]:
        """What a layer and its kernel read of the rest of the quantized graph, weights left out."""
        chain = self._int8
        nodes = chain.with_free([chain.position(name) for name in layer.nodes])
        return [name for name in chain.graph.boundary(nodes) if name not in chain.graph.inputs]
