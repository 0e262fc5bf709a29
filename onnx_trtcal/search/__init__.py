"""Method `auto`: per tensor the threshold that disturbs the network's outputs least, found by running it.

For every tensor that an INT8 kernel reads, and every candidate threshold (those of the other methods, and a
geometric grid below the largest magnitude), the network runs with this one tensor quantized and everything
else in floating point. The score is the error power at the outputs relative to their own power, over a few
dozen samples. Errors of different tensors add up nearly independently, so the best threshold of each is
near the best of all together. Scores of neighbouring thresholds are smoothed before the least is taken:
rounding error is a matter of luck on few samples, clipping error is not.

Tensors that no INT8 kernel reads, such as outputs of the network, are solved by `mse`.

Method `easyquant` has the same machinery and another score, that of each layer alone: see easyquant.py. With
it, `mse` also solves what no weighted layer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.methods import Method
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.search.samples import Kept
    from onnx_trtcal.search.task import Chosen
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.support.progress import Listener

__all__ = ["JudgedSamples", "chosen_name", "judge"]


class JudgedSamples:
    """The samples to judge by, from data that may go by only once.

    Attributes:
        data: what to calibrate with; where the original can be read only once, it is noted what goes by.
        tensors: per method that runs the model, what it is to solve.
    """

    def __init__(self, prepared: Prepared, data: Any, options: Options) -> None:
        self.data = data
        self._inputs = prepared.model.inputs
        self._options = options
        self._kept: Kept | None = None
        self.tensors = _tensors(prepared)
        if not self.tensors:
            return
        from onnx_trtcal.search.budget import most_samples, multiply_adds
        from onnx_trtcal.search.samples import Kept
        from onnx_trtcal.search.task import to_judge

        together = to_judge(prepared, [name for names in self.tensors.values() for name in names])
        self._most = most_samples(len(together), multiply_adds(prepared.folded))
        if isinstance(data, Iterator):
            self._kept = Kept(self._inputs, self._most)
            self.data = self._noting(data, self._kept)

    def feeds(self, collection: Collection) -> list[Mapping[str, np.ndarray]]:
        """One feed per sample; samples that were not counted are left out where the data can be read again."""
        hashes = frozenset(digest for _, digest in collection.samples)
        if self._kept is not None:
            return self._kept.feeds(hashes)
        from onnx_trtcal.data.sources import open_source
        from onnx_trtcal.search.samples import read_again

        options = self._options
        source = open_source(self.data, self._inputs, options.preprocess, options.max_samples)
        return read_again(source, self._inputs, hashes, self._most)

    def _noting(self, data: Iterator[Any], kept: Kept) -> Iterator[Any]:
        from onnx_trtcal.data.batching import batches
        from onnx_trtcal.data.sources import open_source

        left = self._options.max_samples
        for element in data:
            # Elements are asked for ahead of the samples that count.
            if left is None or left > 0:
                source = open_source([element], self._inputs, self._options.preprocess, left)
                for batch in batches(source, self._inputs, 1, threads=1):
                    kept.offer(batch)
                    left = None if left is None else left - batch.count
            yield element


def judge(
    prepared: Prepared,
    collection: Collection,
    samples: JudgedSamples,
    options: Options,
    listener: Listener,
) -> dict[str, Chosen]:
    """What the methods that run the model choose for the tensors they are to solve; empty without any.

    Raises:
        DataError, ModelError: from reading the samples again, and from running parts of the model.
    """
    if not samples.tensors:
        return {}
    from onnx_trtcal.run.provider import choose_provider
    from onnx_trtcal.search.auto import solve_auto
    from onnx_trtcal.search.easyquant import solve_easyquant
    from onnx_trtcal.search.task import Task

    histograms = collection.tied_histograms(prepared.ties)
    feeds = samples.feeds(collection)
    session_options = (choose_provider(options.provider), options.threads, options.ort_custom_ops)
    solvers = {"auto": solve_auto, "easyquant": solve_easyquant}
    found: dict[str, Chosen] = {}
    for method, tensors in samples.tensors.items():
        task = Task(prepared, histograms, tensors, feeds, session_options, listener)
        found.update(solvers[method](task))
    return found


def chosen_name(method: Method, chosen: Chosen | None) -> str:
    """How a threshold's method is called: `auto:mse`, `auto:amax*0.707`, `easyquant`, or as asked for."""
    if not method.kind.judged:
        return str(method)
    candidate = chosen.candidate if chosen else method.kind.module
    return f"{method}:{candidate}" if candidate else str(method)


def _tensors(prepared: Prepared) -> dict[str, list[str]]:
    """Per method that runs the model, what it is to solve."""
    found: dict[str, list[str]] = {}
    for name, method in prepared.methods.items():
        if method.kind.judged:
            found.setdefault(method.name, []).append(name)
    return found
