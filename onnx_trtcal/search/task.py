"""What a method that runs the model is to solve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.methods import Chosen, Method
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.place import place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.qdq.place.placement import Activation, Placement
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.progress import Listener

__all__ = ["Task", "int8_placement", "quantized_reads"]

# A cache is used without Q/DQ nodes, where TensorRT may run every layer in INT8.
_EVERYTHING = QdqOptions(min_channels=1, gemv=True)


@dataclass(frozen=True)
class Task:
    """What is to be solved, and with what.

    Attributes:
        method: the method that solves it.
        prepared: the model and its plan.
        placement: where INT8 may be read.
        histograms: per observed tensor; those of a tie added up.
        tensors: the observed tensors to solve.
        samples: one feed per sample, by rising content hash.
        session_options: as for Session.
        listener: receives messages and progress.
        weight_bits: of the integers of weights.
        fresh: more samples, which nothing is searched on: they confirm a result.
        weight_scales: receives the scales of weights that the method finds, float32, one per channel.
        counted: how many samples were calibrated with.
        steps_done: receives the number of steps that a search made.
        most_steps: so many steps at most; None for no limit.
        seconds: how long a search may take; None for no limit.
        checkpoint: the file of the run's checkpoint; None to keep none.
    """

    method: Method
    prepared: Prepared
    placement: Placement
    histograms: Mapping[str, Histogram]
    tensors: Sequence[str]
    samples: Sequence[Feeds]
    session_options: SessionOptions
    listener: Listener
    counted: int
    steps_done: Callable[[int], None]
    most_steps: int | None = None
    seconds: float | None = None
    checkpoint: Path | None = None
    weight_bits: int = 8
    fresh: Sequence[Feeds] = ()
    weight_scales: dict[str, np.ndarray] = field(default_factory=dict)

    def fallback(self) -> dict[str, Chosen]:
        """For tensors that no INT8 kernel reads, and for the others to begin with."""
        method = self.method.fallback
        assert method is not None, "every method that runs the model is registered with a fallback"
        return {name: Chosen(method.solve(self.histograms[name]), str(method)) for name in self.tensors}

    def quantized_reads(self) -> dict[tuple[str, ...], list[Activation]]:
        """The tensors to solve that INT8 kernels read; see the function of that name."""
        return quantized_reads(self.prepared, self.placement, self.tensors)

    def tie_of(self, tensor: str) -> tuple[str, ...]:
        """The observed tensors whose threshold a tensor has; () when none of them is to be solved here."""
        return _tie_of(self.prepared, tensor, self.tensors)

    def amax(self, tensor: str) -> float:
        """The largest magnitude of a tensor, or that of the observed tensor that owns its scale."""
        plan = self.prepared.plan
        owner = plan.owners[tensor]
        if owner.reason == "constant":
            return plan.constants[owner.source]
        return self.histograms[owner.source].amax


def int8_placement(prepared: Prepared) -> Placement:
    """Where INT8 may be read: by every layer that can be quantized."""
    return place(prepared.folded, prepared.groups, _EVERYTHING, prepared.plan.owners)


def quantized_reads(
    prepared: Prepared, placement: Placement, tensors: Collection[str]
) -> dict[tuple[str, ...], list[Activation]]:
    """What is quantized with one threshold: the observed tensors that share it -> the pairs that get it.

    Args:
        prepared: the model and its plan.
        placement: where INT8 may be read.
        tensors: the observed tensors to solve; those that no INT8 kernel reads are left out.
    """
    found: dict[tuple[str, ...], list[Activation]] = {}
    for activation in placement.activations:
        names = _tie_of(prepared, activation.tensor, tensors)
        if names:
            found.setdefault(names, []).append(activation)
    return found


def _tie_of(prepared: Prepared, tensor: str, tensors: Collection[str]) -> tuple[str, ...]:
    owner = prepared.plan.owners[tensor]
    if owner.reason == "constant" or owner.source not in tensors:
        return ()
    return next((tuple(names) for names in prepared.ties if owner.source in names), (owner.source,))
