"""How similar single layers in INT8 are to what they make in floating point, and the scales that make them most so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.qdq.place.placement import Activation
from onnx_trtcal.qdq.weight_scales import WEIGHT_MAX
from onnx_trtcal.scales import to_scale
from onnx_trtcal.search.budget import multiply_adds_of
from onnx_trtcal.search.candidates import UNCHANGED, best_places, factors
from onnx_trtcal.search.channel_moments import channel_moments
from onnx_trtcal.search.float_network import elem_type
from onnx_trtcal.search.paired_graph import Pairs
from onnx_trtcal.search.paired_network import PairedNetwork, most_lanes
from onnx_trtcal.search.subgraph_runner import LayerRunner, quantized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onnx_trtcal.search.channel_moments import ChannelMoments
    from onnx_trtcal.search.layer_values import LayerValues
    from onnx_trtcal.search.layers import Layer
    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions
    from onnx_trtcal.search.workers import Workers

__all__ = ["LayerSimilarity", "tensors_of"]

_SAME = 1e-7  # cosines of channels that differ by less are equal
# Multiply-adds of a search over all candidates that are nobody's loss.
_LITTLE = 1 << 22
# The same where sums over what the layer reads are multiplied by its weights.
_LITTLE_SUMS = 1 << 25
# Values of quantized weights that are multiplied at a time.
_TOGETHER = 1 << 20


def tensors_of(graph: ExportedGraph, layer: Layer) -> tuple[str, ...]:
    """What has to be known of a layer: its output, and what it reads but its constant operands."""
    weights = frozenset((read.node, read.index) for read, _ in layer.constants.values())
    return tuple(dict.fromkeys((layer.name, *graph.boundary([_position(graph, layer)], weights))))


class LayerSimilarity:
    """Measures one layer after the other.

    Args:
        graph: the folded graph.
        values: of the layers' tensors.
        samples: how many.
        options: provider, threads and libraries of custom ops, as for Session; of each worker.
        workers: run side by side.
        limit: the largest magnitude of a weight's integers.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        values: LayerValues,
        samples: int,
        options: SessionOptions,
        workers: Workers,
        *,
        limit: int = WEIGHT_MAX,
    ) -> None:
        self._graph, self._values, self._samples = graph, values, samples
        self._options, self._workers, self._limit = options, workers, limit
        # The current scales of weights, those that they began with, and the factor of each channel by its number.
        self._scales: dict[str, np.ndarray] = {}
        self._plain: dict[str, np.ndarray] = {}
        self._places: dict[str, np.ndarray] = {}
        # The layer that was measured last, and its outputs.
        self._compared: tuple[tuple[int, str], list[_Exact]] = ((-1, ""), [])
        # The layers of one step with their current weights, ready to run.
        self._networks: tuple[int, dict[str, PairedNetwork]] = (-1, {})

    def moved_scales(self) -> dict[str, np.ndarray]:
        """Weight -> its scales, for those whose scales are no longer max|w| / limit."""
        return {
            name: scales
            for name, scales in self._scales.items()
            if not np.array_equal(scales, self._plain[name])
        }

    def thorough(self, layers: Sequence[Layer]) -> bool:
        """Whether it takes little to try all candidates with these layers."""
        costs = [multiply_adds_of(layer.node) for layer in layers]
        known = [cost for cost in costs if cost is not None]
        return len(known) == len(costs) and len(factors()) * self._samples * sum(known) <= _LITTLE

    def of(
        self,
        step: int,
        layer: Layer,
        sharing: frozenset[str],
        current: Mapping[str, float],
        thresholds: Sequence[float],
    ) -> np.ndarray | None:
        """The mean over samples of the cosine of a layer's exact and INT8 output, for each threshold.

        Args:
            step: which of the steps of `values` the layer is part of.
            layer: the layer.
            sharing: the tensors that get the threshold.
            current: thresholds of the other activations that the layer reads.
            thresholds: those to try.

        Returns:
            float64[thresholds], or None when every sample's exact output is zero.
        """
        values = self._values.of(step)
        if self._values.example[layer.name].dtype.kind != "f":
            return None  # of a type that is compared nowhere, such as bfloat16
        exact = self._exact(step, layer)
        some = [at for at, each in enumerate(exact) if each.power > 0]
        if not some:
            return None
        network, names = self._network(step, layer), self._fed(layer)
        fed = [{name: arrays[name] for name in names} for arrays in values]
        scales = [
            {name: to_scale(tried if name in sharing else current[name]) for name in layer.activations}
            for tried in thresholds
        ]
        runs = [(at, place) for at in some for place in range(len(thresholds))]
        found = np.zeros(len(runs))

        def measure(chunk: Sequence[int]) -> None:
            places = [runs[k] for k in chunk]
            made = network.run_together([fed[at] for at, _ in places], [scales[place] for _, place in places])
            rows = made[layer.name].reshape(len(places), -1)
            with np.errstate(invalid="ignore", over="ignore"):
                found[chunk] = [_cosine(exact[at], got) for (at, _), got in zip(places, rows, strict=True)]

        self._workers.map(measure, network.chunks([fed[at] for at, _ in runs]))
        return np.asarray(found.reshape(len(some), -1).mean(axis=0))

    def search_weights(
        self, step: int, layer: Layer, current: Mapping[str, float], *, near: bool = False
    ) -> bool:
        """Gives each output channel of a layer's weight the scale of the greatest similarity.

        Args:
            step: which of the steps of `values` the layer is part of.
            layer: the layer.
            current: thresholds of the activations that it reads.
            near: try only candidates next to the current ones.

        Returns:
            Whether a scale changed. Of equal similarities, that of the least squared error counts.
        """
        self._begin(layer)
        if len(layer.constants) != 1 or None in (axis for _, axis in layer.constants.values()):
            return False
        if self._values.example[layer.name].dtype.kind != "f":
            return False
        ((name, _),) = layer.constants.items()
        sums, thorough = self._channel_sums(step, layer, name, current)

        def measure(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            product, exact, power = sums((self._plain[name] / factors()[places]).astype(np.float32))
            lengths = np.sqrt(exact * np.maximum(power, 0.0))
            cosines = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
            return cosines, exact - 2 * product + power

        before = self._places[name]
        found = best_places(measure, before, _SAME, near=near, thorough=thorough)
        self._places[name] = found
        moved = not np.array_equal(found, before)
        if moved:
            self._scales[name] = (self._plain[name] / factors()[found]).astype(np.float32)
            self._networks[1].pop(layer.name, None)
        return moved

    def _channel_sums(
        self, step: int, layer: Layer, name: str, current: Mapping[str, float]
    ) -> tuple[Callable[[np.ndarray], np.ndarray], bool]:
        """Scales to sums over the samples; and whether it takes little to try them all.

        From float32[tried, channels] to float64[3, tried, channels]. The sums are those of exact times INT8 output,
        of the squares of the exact one, and of the squares of the other.
        """
        values = self._values.of(step)
        (tensor, *others) = layer.activations
        together = self._lanes((tensor, layer.name))
        moments = None if others else channel_moments(layer, name, current[tensor], values, together)
        if moments is None:
            return _Runs(self._graph, layer, name, current, values, self._options, self._quantized), (
                self.thorough([layer])
            )
        return _Sums(layer, name, moments, self._limit), self._little(layer, name, moments.rows.columns)

    def _little(self, layer: Layer, name: str, columns: int) -> bool:
        """Whether it takes little to try all scales of a weight by sums."""
        return len(factors()) * layer.exact(name).size * columns <= _LITTLE_SUMS

    def _quantized(self, layer: Layer, name: str, scales: np.ndarray) -> np.ndarray:
        return layer.weights({name: scales}, self._limit)[name].quantized

    def _lanes(self, names: Iterable[str]) -> int:
        """How many samples of some tensors go together."""
        found = {name: self._values.example[name] for name in names}
        return most_lanes(found) if self._values.stackable.issuperset(found) else 1

    def _begin(self, layer: Layer) -> None:
        """Takes note of a layer's weights, with the scales that they have before any search."""
        if self._plain.keys() >= layer.constants.keys():
            return
        plain = layer.plain_scales(self._limit)
        self._plain.update(plain)
        self._scales.update(plain)
        self._places.update({name: np.full(scales.size, UNCHANGED) for name, scales in plain.items()})

    def _exact(self, step: int, layer: Layer) -> list[_Exact]:
        if self._compared[0] != (step, layer.name):
            self._compared = (step, layer.name), [_Exact(each[layer.name]) for each in self._values.of(step)]
        return self._compared[1]

    def _fed(self, layer: Layer) -> tuple[str, ...]:
        weights = frozenset((read.node, read.index) for read, _ in layer.constants.values())
        return self._graph.boundary([_position(self._graph, layer)], weights)

    def _network(self, step: int, layer: Layer) -> PairedNetwork:
        """Runs the layer alone with its current weights."""
        if self._networks[0] != step:
            self._networks = step, {}
        networks = self._networks[1]
        if layer.name not in networks:
            networks[layer.name] = self._made_network(layer)
        return networks[layer.name]

    def _made_network(self, layer: Layer) -> PairedNetwork:
        """A network of the layer alone, with lanes where what it reads and makes can be stacked."""
        self._begin(layer)
        first = self._values.example
        weights = layer.weights(self._scales, self._limit)
        pairs = Pairs(
            [Activation(name, reads) for name, reads in layer.activations.items()],
            {name: elem_type(first[name]) for name in layer.activations},
            {(read.node, read.index): weights[name].quantized for name, (read, _) in layer.constants.items()},
        )
        fed = self._fed(layer)
        example = {name: first[name] for name in fed}
        network = PairedNetwork(
            self._graph, [_position(self._graph, layer)], [layer.name], pairs, example, self._options
        )
        shared = frozenset(fed) & self._values.constant.keys()
        lanes = self._lanes(name for name in (*fed, *layer.activations, layer.name) if name not in shared)
        if lanes > 1:
            rows = {name: first[name].shape[0] for name in layer.activations}
            network.use_lanes(lanes, rows, example, shared)
            network.confirm_lanes(example, dict.fromkeys(layer.activations, 1.0))
        return network


class _Sums:
    """The sums of a layer, from what was added up of what it reads.

    Args:
        layer: the layer.
        weight: its constant operand.
        moments: what was added up.
        limit: the largest magnitude of a weight's integers.
    """

    def __init__(self, layer: Layer, weight: str, moments: ChannelMoments, limit: int) -> None:
        exact = layer.exact(weight)
        self._moments, self._limit, self._dtype = moments, limit, exact.dtype
        self._alpha = float(layer.node.attrs.get("alpha", 1.0)) if kind(layer.node) == "Gemm" else 1.0
        self._matrix = moments.rows.matrix(exact.astype(np.float32))

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        together = max(_TOGETHER // self._matrix.size, 1)
        parts = [self._sums(scales[at : at + together]) for at in range(0, len(scales), together)]
        return np.concatenate(parts, axis=1)

    def _sums(self, scales: np.ndarray) -> np.ndarray:
        along = scales.reshape(len(scales), *self._matrix.shape[:2], 1)
        steps = np.clip(np.rint(self._matrix / along), -self._limit, self._limit)
        weights = (steps * along).astype(self._dtype).astype(np.float64)
        return self._moments.products(self._alpha * weights)


class _Runs:
    """The sums of a layer that has to run for each candidate.

    Args:
        graph: the folded graph.
        layer: the layer.
        weight: its constant operand.
        current: thresholds of what it reads.
        values: what it reads and makes, for each sample.
        options: as for Session.
        quantized: (layer, weight, scales) to the weight from INT8 back in float.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        layer: Layer,
        weight: str,
        current: Mapping[str, float],
        values: Sequence[Feeds],
        options: SessionOptions,
        quantized_weight: Callable[[Layer, str, np.ndarray], np.ndarray],
    ) -> None:
        self._layer, self._weight, self._values = layer, weight, values
        self._current, self._quantized = current, quantized_weight
        read = layer.constants[weight][0]
        operands = {name: (reads, values[0][name]) for name, reads in layer.activations.items()}
        operands[weight] = ((read,), layer.exact(weight))
        self._runner = LayerRunner(graph, _position(graph, layer), operands, values[0], options)
        self._axis = WEIGHTED[kind(layer.node)].output_axes(read.index, layer.exact(weight).ndim)[0]

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        return np.stack([self._sums(each) for each in scales], axis=1)

    def _sums(self, scales: np.ndarray) -> np.ndarray:
        weight = self._quantized(self._layer, self._weight, scales)
        found = np.zeros((3, scales.size))
        for arrays in self._values:
            read_as = {name: quantized(arrays[name], self._current[name]) for name in self._layer.activations}
            got = self._runner.run(arrays, {**read_as, self._weight: weight}).astype(np.float64)
            one, other = _channel_rows(arrays[self._layer.name].astype(np.float64), got, self._axis)
            found += [np.einsum("cp,cp->c", a, b) for a, b in ((one, other), (one, one), (other, other))]
        return found


def _position(graph: ExportedGraph, layer: Layer) -> int:
    return next(at for at, node in enumerate(graph.nodes) if layer.name in node.output)


class _Exact:
    """A layer's output for one sample, to which others are compared.

    Args:
        values: the output.

    Attributes:
        values: the output as one row.
        power: the sum of the squares of its finite values.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values.ravel().astype(np.promote_types(values.dtype, np.float32), copy=False)
        wide = np.where(np.isfinite(self.values), self.values, 0.0).astype(np.float64)
        self.power = float(np.einsum("p,p->", wide, wide))


def _cosine(exact: _Exact, got: np.ndarray) -> float:
    """The cosine with an exact output, over the places where both are finite; 0 where none is.

    Sums are made of the small differences, so that single precision tells the cosines apart. With zeros alone it is
    below 0.001, though not always 0: their difference is as large as the output.

    Args:
        exact: the exact one.
        got: [places].
    """
    wanted, power = exact.values, exact.power
    linear, square = _error_sums(wanted, got)
    if not math.isfinite(linear + square):
        wanted, got = _finite(wanted, got)
        power = float(np.einsum("p,p->", wanted, wanted, dtype=np.float64))
        linear, square = _error_sums(wanted, got)
    length = math.sqrt(power * max(power + 2 * linear + square, 0.0))
    return (power + linear) / length if length > 0 else 0.0


def _error_sums(wanted: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """The sum of error times what is wanted, and that of the squares of the error."""
    error = got - wanted
    return float(error @ wanted), float(error @ error)


def _channel_rows(exact: np.ndarray, got: np.ndarray, axis: int) -> list[np.ndarray]:
    """Two arrays of one shape as [channels, values], with zeros where either is not finite."""
    return [np.moveaxis(each, axis, 0).reshape(exact.shape[axis], -1) for each in _finite(exact, got)]


def _finite(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays with zeros where either is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.all():
        return one, other
    return np.where(both, one, 0.0), np.where(both, other, 0.0)
