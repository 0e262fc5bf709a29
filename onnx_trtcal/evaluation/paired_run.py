"""Runs a float model and its quantized form side by side, with one batch of activations of each at a time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.counting.trial import TRIAL, Trial, settle, tolerance
from onnx_trtcal.data.batching import Batch, batches
from onnx_trtcal.evaluation.interfaces import check_interfaces, tensor_outputs
from onnx_trtcal.graph.data_dependent import DataDependent, data_dependent
from onnx_trtcal.graph.independent_rows import rows_are_independent
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.graph.view import kind, link
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import onnx_graphsurgeon as gs

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.graph.view import Links
    from onnx_trtcal.options import Options
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.progress import Listener

__all__ = ["FloatModel", "FloatRuns", "PairedBatch", "PairedRun"]


@dataclass(frozen=True)
class PairedBatch:
    """A batch and what both models compute from it.

    Attributes:
        batch: what both were fed.
        first: position of its first sample in the data.
        fp32: tensor -> values.
        int8: tensor -> values, also under the names of `PairedRun.read_as`.
    """

    batch: Batch
    first: int
    fp32: Mapping[str, np.ndarray]
    int8: Mapping[str, np.ndarray]


class FloatRuns:
    """What the float model makes of some data, for one quantized model after another that is compared with it.

    Args:
        most_bytes: how much to remember; what is larger runs anew each time.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: list[tuple[Batch, Mapping[str, np.ndarray]]] | None = None

    def of(
        self, fresh: Iterator[tuple[Batch, Mapping[str, np.ndarray]]]
    ) -> Iterator[tuple[Batch, Mapping[str, np.ndarray]]]:
        """Each batch with the float model's tensors: as they are remembered, or else from `fresh`.

        The tensors are the receiver's own: a user's metric may well work in place.
        """
        if self._kept is not None:
            yield from ((batch, _copied(fp32)) for batch, fp32 in self._kept)
            return
        kept, size = [], 0
        for batch, fp32 in fresh:
            size += sum(array.nbytes for array in (*batch.feeds.values(), *fp32.values()))
            if size <= self._most_bytes:
                kept.append((batch, _copied(fp32)))
            else:
                kept.clear()
            yield batch, fp32
        if size <= self._most_bytes:
            self._kept = kept


class FloatModel:
    """The float model of paired runs, ready to run: one of it serves any number of quantized models.

    Args:
        model: the float model, run as it is.
        provider: runs it, and the quantized models.
        options: threads and custom ops.
        listener: receives what is to be said of the session.

    Attributes:
        outputs: its outputs, as far as they are tensors.
        counted: its tensors whose size depends on values, so that INT8 may change it.
    """

    def __init__(
        self, model: Model, provider: Provider, options: Options, *, listener: Listener | None = None
    ) -> None:
        self.model, self.provider, self.options = model, provider, options
        self.outputs = tensor_outputs(model)
        self._listener = listener
        self._graph = import_graph(model)
        links = link(self._graph)
        self.counted = data_dependent(model, links)
        self.tensors = links.tensors.keys()
        self._open: Session | None = None

    def keeps_rows_apart(self, tensors: tuple[str, ...]) -> bool:
        """Whether these tensors are proven to be computed row by row."""
        return rows_are_independent(self._graph, self.model.inputs, tensors)

    def session(self, tensors: tuple[str, ...]) -> Session:
        """A session that gives out these tensors; the same one where they are those of the last."""
        if self._open is None or self._open.outputs != tensors:
            self._open = Session(
                probe(self._graph, self.model, tensors),
                self.provider,
                self.options.threads,
                self.options.ort_custom_ops,
                listener=self._listener,
            )
        return self._open


class PairedRun:
    """Both models, ready to run.

    Args:
        float_model: the float model.
        graph: the Q/DQ graph.
        quantized: what `graph` is exported against.
        wanted: tensors to compare, besides the outputs; those that only one model has are ignored.

    Attributes:
        tensors: the tensors compared, in the order of `wanted`.
        outputs: the float model's outputs, as far as they are tensors.
        read_as: tensor with a Q/DQ pair -> the name of what its quantized readers read.
        above: tensor -> the nearest tensors among `tensors` that the quantized model computes it from.
        counted: the tensors and outputs whose size depends on values, so that INT8 may change it.

    Raises:
        ModelError: the two do not belong together.
    """

    def __init__(
        self, float_model: FloatModel, graph: gs.Graph, quantized: Model, wanted: tuple[str, ...] = ()
    ) -> None:
        model = float_model.model
        check_interfaces(model, quantized)
        links = link(graph)
        both = float_model.tensors & links.tensors.keys()
        self.model = model
        self._float_model = float_model
        self.outputs = float_model.outputs
        self.tensors = tuple(name for name in wanted if name in both)
        self.read_as = _read_as(links, frozenset(self.tensors))
        self.above = _above(links, frozenset(self.tensors))
        shared = tuple(dict.fromkeys((*self.tensors, *self.outputs)))
        counted = float_model.counted
        self.counted = DataDependent(counted.tensors & {*shared}, counted.rowless & {*shared})
        int8 = probe(graph, quantized, (*shared, *self.read_as.values()))
        self._provider = float_model.provider
        options = float_model.options
        self._fp32 = float_model.session(shared)
        self._int8 = Session(int8, self._provider, options.threads, options.ort_custom_ops, float_qdq=True)

    def settle(self, source: Source, listener: Listener) -> Source:
        """The source with what an item of it is, see `counting.trial`."""
        names = self._fp32.outputs
        if self._float_model.keeps_rows_apart(names):
            return settle(source, None, listener)
        types = (self.model.elem_types.get(name, 0) for name in names)
        trial = Trial(names, partial(self._fp32.run, sample=TRIAL), tolerance(types, self._provider))
        return settle(source, trial, listener)

    def batches(
        self, source: Source, batch_size: int, float_runs: FloatRuns | None = None
    ) -> Iterator[PairedBatch]:
        """Runs both models on batch after batch; the arrays are valid until the next batch is asked for.

        Args:
            source: the data.
            batch_size: samples per batch.
            float_runs: remembers what the float model makes of this data; of no other data, and no other model.
        """
        first = 0
        with closing(batches(source, batch_size)) as stream:
            if float_runs is not None:
                exact = ((batch, _named(self._fp32, batch)) for batch in stream)
                for batch, fp32 in float_runs.of(exact):
                    yield PairedBatch(batch, first, fp32, _named(self._int8, batch))
                    first += batch.count
                return
            for batch in stream:
                # Held in no name: otherwise this batch's tensors would stay until the next one's are all there.
                yield PairedBatch(batch, first, _named(self._fp32, batch), _named(self._int8, batch))
                first += batch.count


def _copied(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}


def _named(session: Session, batch: Batch) -> dict[str, np.ndarray]:
    return dict(zip(session.outputs, session.run(batch.feeds, batch.names[0]), strict=True))


def _read_as(links: Links, tensors: frozenset[str]) -> dict[str, str]:
    """Tensor -> output of the first DequantizeLinear behind its first QuantizeLinear."""
    found: dict[str, str] = {}
    quantized: dict[str, str] = {}
    for node in links.nodes:
        op = kind(node).removeprefix("com.microsoft:")
        if op == "QuantizeLinear" and node.inputs[0].name in tensors:
            quantized[node.outputs[0].name] = node.inputs[0].name
        elif op == "DequantizeLinear" and node.inputs[0].name in quantized:
            found.setdefault(quantized[node.inputs[0].name], node.outputs[0].name)
    return found


def _above(links: Links, tensors: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Per tensor, the nearest compared tensors upstream."""
    nearest: dict[str, dict[str, None]] = {}
    found: dict[str, tuple[str, ...]] = dict.fromkeys(tensors, ())
    for node in links.nodes:
        merged: dict[str, None] = {}
        for tensor in node.inputs:
            merged |= {tensor.name: None} if tensor.name in tensors else nearest.get(tensor.name, {})
        for out in node.outputs:
            nearest[out.name] = merged
            if out.name in tensors:
                found[out.name] = tuple(merged)
    return found
