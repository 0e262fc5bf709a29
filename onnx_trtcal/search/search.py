"""Runs the methods that run the model: gathers their samples while data goes by, then hands each its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.budget import most_samples, multiply_adds
from onnx_trtcal.search.samples import SampleKeeper, read_again
from onnx_trtcal.search.task import Task, int8_placement, quantized_reads

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.methods import Chosen, Method
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["Search"]


class Search:
    """Finds the thresholds of the tensors whose methods run the model; does nothing where there are none.

    Args:
        prepared: the model, its plan and its methods.
        data: what to calibrate with, whatever `open_source` takes.

    Attributes:
        data: what to calibrate with instead: an iterator, which can be read only once, is wrapped so that
            samples are kept as they go by.
    """

    def __init__(self, prepared: Prepared, data: Any) -> None:
        self.data = data
        self._prepared = prepared
        self._inputs = prepared.model.inputs
        self._options = prepared.options
        self._tensors: dict[Method, list[str]] = {}
        for name, method in prepared.methods.items():
            if method.needs == "model":
                self._tensors.setdefault(method, []).append(name)
        self._keeper: SampleKeeper | None = None
        if not self._tensors:
            return
        self._placement = int8_placement(prepared)
        tensors = [name for names in self._tensors.values() for name in names]
        searched = quantized_reads(prepared, self._placement, tensors)
        self._most = most_samples(len(searched), multiply_adds(prepared.folded))
        if isinstance(data, Iterator):
            self._keeper = SampleKeeper(self._inputs, self._most)
            self.data = self._keeping(data, self._keeper)

    def solve(self, collection: Collection, listener: Listener) -> dict[str, Chosen]:
        """What the methods choose for their tensors.

        Args:
            collection: the statistics of the data.
            listener: receives messages and progress.

        Raises:
            DataError, ModelError: from reading the samples again, and from running parts of the model.
        """
        if not self._tensors:
            return {}
        options = self._options
        histograms = collection.tied_histograms(self._prepared.ties)
        feeds = self._feeds(collection)
        session_options = (choose_provider(options.provider), options.threads, options.ort_custom_ops)
        found: dict[str, Chosen] = {}
        for method, tensors in self._tensors.items():
            task = Task(
                method=method,
                prepared=self._prepared,
                placement=self._placement,
                histograms=histograms,
                tensors=tensors,
                samples=feeds,
                session_options=session_options,
                listener=listener,
            )
            found.update(method.search(task))
        return found

    def _feeds(self, collection: Collection) -> list[Mapping[str, np.ndarray]]:
        """One feed per sample; samples that were not counted are left out where the data can be read again."""
        hashes = frozenset(digest for _, digest in collection.samples)
        if self._keeper is not None:
            return self._keeper.feeds(hashes)
        source = open_source(self.data, self._inputs, self._options.preprocess, self._options.max_samples)
        return read_again(source, self._inputs, hashes, self._most)

    def _keeping(self, data: Iterator[Any], keeper: SampleKeeper) -> Iterator[Any]:
        left = self._options.max_samples
        for element in data:
            # Elements are asked for ahead of the samples that count.
            if left is None or left > 0:
                source = open_source([element], self._inputs, self._options.preprocess, left)
                for batch in batches(source, self._inputs, 1, threads=1):
                    keeper.offer(batch)
                    left = None if left is None else left - batch.count
            yield element
