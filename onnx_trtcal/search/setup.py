"""Everything that a search with `auto` works with, made from its task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.counting.checkpoint import search_path
from onnx_trtcal.graph.output_blocks import output_blocks
from onnx_trtcal.qdq.weight_scales import weight_limit
from onnx_trtcal.search.assignment import Assignments
from onnx_trtcal.search.budget import Work, default_runs, lone_samples
from onnx_trtcal.search.float_network import FloatNetwork, elem_type
from onnx_trtcal.search.lattice import lattice_step, lattice_thresholds
from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.lone_tensor import LoneTensor, LoneTensorMeter
from onnx_trtcal.search.objective import Objective
from onnx_trtcal.search.outputs import before_softmax, comparable_outputs
from onnx_trtcal.search.paired_graph import Pairs
from onnx_trtcal.search.paired_network import PairedNetwork, most_lanes
from onnx_trtcal.search.referee import Referee
from onnx_trtcal.search.steps import Journal, Steps
from onnx_trtcal.search.subgraph import ExportedGraph
from onnx_trtcal.search.valley import clipping_error
from onnx_trtcal.search.variants import VariantMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_trtcal.search.assignment import Assignment, Group
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.search.task import Task
    from onnx_trtcal.search.workers import Workers
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Setup", "set_up"]

# Activations and outputs to remember, where --memory-limit says nothing.
_MOST_BYTES = 512 << 20
_TRIED = 5.5  # thresholds that a tensor is tried with, on average


@dataclass(frozen=True)
class Setup:
    """What a search works with.

    Attributes:
        groups: what is decided about: observed tensors that share a threshold.
        histograms: per observed tensor.
        assignments: makes assignments.
        by_method: method -> what it chooses for every group.
        referee: compares whole assignments.
        steps: decides how many steps there are.
        journal: remembers what was measured.
        lone_count: on how many samples a tensor is quantized alone.
    """

    groups: tuple[Group, ...]
    histograms: Mapping[str, Histogram]
    assignments: Assignments
    by_method: Mapping[str, Assignment]
    referee: Referee
    steps: Steps
    journal: Journal
    lone_count: int
    _lone: Mapping[Group, LoneTensor]
    _meter: LoneTensorMeter
    _shares: Mapping[Group, float]

    def lone_errors(self, names: Group) -> Callable[[Sequence[float]], np.ndarray]:
        """The errors at the outputs with this group alone quantized, as a function of thresholds."""
        return partial(self._meter.errors, self._meter.network(self._lone[names]), self._lone[names])

    def lattice_thresholds(self, names: Group) -> list[float]:
        """Thresholds that meet the values of a group exactly; empty where it is not an input on a lattice."""
        if len(names) > 1 or names[0] not in self._lone[names].graph.inputs:
            return []
        step = lattice_step(self._meter.values_of(self._lone[names].activations[0].tensor))
        return [] if step is None else lattice_thresholds(step, self.assignments.amax[names])

    def clipped(self, names: Group, threshold: float, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean squared clipping error of a group on the samples that tensors are quantized alone on, and on all.

        Args:
            names: the group.
            threshold: where places are counted from.
            places: octaves above it, or below.
        """
        thresholds = threshold * 2.0**places
        tensors = [each.tensor for each in self._lone[names].activations]
        arrays = [np.abs(array).ravel() for tensor in tensors for array in self._meter.values_of(tensor)]
        size = sum(array.size for array in arrays)
        large = np.concatenate([array[array > thresholds.min()] for array in arrays])
        histogram = self.histograms[names[0]]
        counts = histogram.used()
        magnitudes = (np.arange(counts.size) + 0.5) * histogram.width
        magnitudes[-1] = histogram.amax
        everywhere = clipping_error(magnitudes, thresholds, counts) / max(histogram.total, 1)
        return clipping_error(large, thresholds) / max(size, 1), everywhere

    def lone_runs(self, names: Group, thresholds: int) -> float:
        """How many runs of the network so many thresholds of a group take."""
        return self._shares[names] * thresholds * self.lone_count

    def lone_cost(self, names: Group) -> float:
        """How many runs of the network a group is likely to take."""
        return _TRIED * self._shares[names] * self.lone_count


def set_up(task: Task, workers: Workers, methods: Sequence[str]) -> Setup | None:
    """Opens the sessions of a search.

    Args:
        task: what is to be solved.
        workers: run side by side.
        methods: those to compare.

    Returns:
        None where there is nothing to decide, or nothing to decide it by.
    """
    prepared, samples, known = task.prepared, task.samples, (*task.samples, *task.fresh)
    reads = {
        names: each for names, each in task.quantized_reads().items() if task.histograms[names[0]].amax > 0
    }
    if not reads or not samples:
        return None
    graph = ExportedGraph(prepared.folded, prepared.model)
    shapes = {name: tensor.shape for name, tensor in prepared.folded.tensors().items()}
    outputs = before_softmax(graph, comparable_outputs(graph), shapes)
    provider, _, custom_ops = task.session_options
    options: SessionOptions = (provider, 1, custom_ops)  # the workers are the threads
    most_bytes = prepared.options.memory_limit or _MOST_BYTES
    lone = {names: LoneTensor(graph, activations, outputs) for names, activations in reads.items()}
    work = Work(prepared.folded)
    shares = {names: work.share(each.first_outputs) for names, each in lone.items()}
    steps = Steps(default_runs(task.counted), task.most_steps, task.seconds)

    if not outputs:
        return None
    exact = FloatNetwork(graph, outputs, known, options, most_bytes // 2)
    every = workers.map(exact.floats, range(len(samples)))
    steps.spend(len(known))
    layouts = output_blocks(prepared.model, prepared.folded, outputs)
    objective = Objective(layouts, every)
    del every
    if not objective.blocks:
        return None
    meter = VariantMeter(exact, objective, workers)

    # Every second sample chooses, see Referee; those are also what a tensor is quantized alone on.
    count = lone_samples(default_runs(task.counted), shares.values())
    positions = range(0, len(samples), 2)[:count]
    paired = [each.tensor for each in task.placement.activations]
    needed = [*paired, *(name for each in lone.values() for name in each.tensors)]
    values = FloatNetwork(graph, needed, [samples[at] for at in positions], options, most_bytes // 2)
    steps.spend(len(positions))
    first = values.values(0)
    pairs = Pairs(
        task.placement.activations,
        {name: elem_type(first[name]) for name in paired},
        _weights(task),
    )
    network = PairedNetwork(graph, range(len(graph.nodes)), outputs, pairs, samples[0], options)
    assignments = Assignments(task, tuple(reads))
    by_method = {text: assignments.by_method(text) for text in methods}
    if values.stackable.issuperset(paired) and exact.stackable.issuperset(outputs):
        rows = {name: first[name].shape[0] for name in paired}
        network.use_lanes(most_lanes({name: first[name] for name in paired}), rows, samples[0])
        network.confirm_lanes(samples[0], assignments.scales(by_method[methods[0]]))
    journal = Journal(task.checkpoint and search_path(task.checkpoint), _key(task, by_method))
    return Setup(
        groups=tuple(reads),
        histograms=task.histograms,
        assignments=assignments,
        by_method=by_method,
        referee=Referee(network, meter, assignments, known, journal, steps, compared=len(samples)),
        steps=steps,
        journal=journal,
        lone_count=len(positions),
        _lone=lone,
        _meter=LoneTensorMeter(values, positions, meter, options, lanes=network.lanes > 1),
        _shares=shares,
    )


def _weights(task: Task) -> dict[tuple[str, int], np.ndarray]:
    """The weights of every layer, from INT8 back in float: (first output of the layer, its input) -> values."""
    found = {}
    limit = weight_limit(task.weight_bits)
    for layer in layers_of(task.prepared.folded, task.placement):
        weights = layer.weights(layer.plain_scales(limit), limit)
        for name, (read, _) in layer.constants.items():
            found[read.node, read.index] = weights[name].quantized
    return found


def _key(task: Task, by_method: Mapping[str, Assignment]) -> str:
    """What two searches have in common whose measurements are the same."""
    key = hashlib.sha256(task.prepared.model.sha256.encode())
    for feeds in (*task.samples, *task.fresh):
        for name in sorted(feeds):
            key.update(np.ascontiguousarray(feeds[name]).data if feeds[name].dtype.kind in "biuf" else b"")
    thresholds = {text: [chosen.threshold for chosen in each.values()] for text, each in by_method.items()}
    key.update(
        json.dumps([metadata.version("onnx_trtcal"), task.counted, task.weight_bits, thresholds]).encode()
    )
    return key.hexdigest()
