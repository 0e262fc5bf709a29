"""Runs the methods that run the model: gathers their samples while data goes by, then hands each its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.budget import MOST_FRESH, compared_samples, fresh_samples, most_samples, multiply_adds
from onnx_trtcal.search.samples import SampleKeeper, read_again
from onnx_trtcal.search.task import Task, int8_placement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.methods import Chosen, Method
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["Search"]


class Search:
    """Finds the thresholds of the tensors whose methods run the model; does nothing where there are none.

    Args:
        prepared: the model, its plan and its methods.
        once: whether the data can be read only once, so that samples must be kept as they go by.
        checkpoint: the file of the run's checkpoint, beside which steps are kept; None to keep none.
        weight_bits: of the integers of weights.

    Attributes:
        steps_done: the number of steps of a search that counts them; None where there was none.
        keep: receives every batch of the data; None where nothing needs to be kept.
        weight_scales: weight -> its scales, as far as a method found any.
    """

    def __init__(
        self, prepared: Prepared, checkpoint: Path | None = None, *, once: bool, weight_bits: int = 8
    ) -> None:
        self.weight_scales: dict[str, np.ndarray] = {}
        self._weight_bits = weight_bits
        self.steps_done: int | None = None
        self._checkpoint = checkpoint
        self.keep: Callable[[Batch], None] | None = None
        self._prepared = prepared
        self._options = prepared.options
        self._tensors: dict[Method, list[str]] = {}
        for name, method in prepared.methods.items():
            # A product that only the cache names is read by nothing that can be quantized.
            if method.needs == "model" and name not in prepared.plan.products:
                self._tensors.setdefault(method, []).append(name)
        self._keeper: SampleKeeper | None = None
        if not self._tensors:
            return
        self._placement = int8_placement(prepared)
        self._most = most_samples(multiply_adds(prepared.folded))
        if once:
            self._keeper = SampleKeeper(self._most + MOST_FRESH)
            self.keep = self._keeper.offer

    def solve(self, collection: Collection, source: Source, listener: Listener) -> dict[str, Chosen]:
        """What the methods choose for their tensors.

        Args:
            collection: the statistics of the data.
            source: the data.
            listener: receives messages and progress.

        Raises:
            DataError, ModelError: from reading the samples again, and from running parts of the model.
        """
        if not self._tensors:
            return {}
        options = self._options
        histograms = collection.tied_histograms(self._prepared.ties)
        hashes = frozenset(digest for _, digest in collection.samples)
        compared = min(self._most, compared_samples(len(hashes)))
        feeds = self._feeds(hashes, source, compared + fresh_samples(len(hashes)))
        session_options = (choose_provider(options.provider), options.threads, options.ort_custom_ops)
        found: dict[str, Chosen] = {}
        for method, tensors in self._tensors.items():
            task = Task(
                method=method,
                prepared=self._prepared,
                placement=self._placement,
                histograms=histograms,
                tensors=tensors,
                samples=feeds[:compared],
                fresh=feeds[compared:],
                session_options=session_options,
                listener=listener,
                weight_bits=self._weight_bits,
                weight_scales=self.weight_scales,
                counted=len(collection.samples),
                steps_done=self._note_steps,
                most_steps=options.steps,
                seconds=options.budget,
                checkpoint=self._checkpoint,
            )
            found.update(method.search(task))
        return found

    def _note_steps(self, count: int) -> None:
        self.steps_done = count

    def _feeds(self, hashes: frozenset[str], source: Source, most: int) -> list[Mapping[str, np.ndarray]]:
        """One feed per sample; samples that were not counted are left out where the data can be read again."""
        if self._keeper is not None:
            return self._keeper.feeds(hashes)[:most]
        return read_again(source, hashes, most)
