"""What a method that runs the model is to solve, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.methods import parse_method
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.place import place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onnx_trtcal.graph.plan.plan import Plan
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.qdq.place.placement import Activation, Placement
    from onnx_trtcal.search.subgraph_runner import Feeds, SessionOptions
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.support.progress import Listener

__all__ = ["Chosen", "Task", "placement_of", "to_judge", "together"]

# A cache is used without Q/DQ nodes, where TensorRT may run every layer in INT8.
_EVERYTHING = QdqOptions(min_channels=1, gemv=True)
_UNJUDGED = "mse"


@dataclass(frozen=True)
class Chosen:
    """A threshold, and how it is called among the candidates: a method, or a share of amax; "" for no name."""

    threshold: float
    candidate: str


@dataclass(frozen=True)
class Task:
    """What is to be solved, and what by.

    Attributes:
        prepared: the model and its plan.
        histograms: per observed tensor; those of tied tensors added up.
        tensors: the observed tensors to solve.
        samples: one feed per sample, from `Kept` or `read_again`.
        session_options: as for Session.
        listener: is told of the progress.
    """

    prepared: Prepared
    histograms: Mapping[str, Histogram]
    tensors: Sequence[str]
    samples: Sequence[Feeds]
    session_options: SessionOptions
    listener: Listener

    def fallback(self) -> dict[str, Chosen]:
        """For tensors that cannot be judged, and for the others to begin with: `mse`."""
        unjudged = parse_method(_UNJUDGED)
        return {name: Chosen(unjudged.solve(self.histograms[name]), _UNJUDGED) for name in self.tensors}


def to_judge(prepared: Prepared, tensors: Collection[str]) -> dict[tuple[str, ...], list[Activation]]:
    """What is quantized together: observed tensors of one threshold -> the pairs they answer for.

    Args:
        tensors: the observed tensors that `auto` solves; those that no INT8 kernel reads are left out.
    """
    plan = prepared.plan
    found: dict[tuple[str, ...], list[Activation]] = {}
    for activation in placement_of(prepared).activations:
        names = together(plan, activation.tensor, tensors)
        if names:
            found.setdefault(names, []).append(activation)
    return found


def placement_of(prepared: Prepared) -> Placement:
    """Where INT8 may be read: every layer that can be quantized is."""
    return place(prepared.folded, prepared.groups, _EVERYTHING, prepared.plan.answers)


def together(plan: Plan, tensor: str, tensors: Collection[str]) -> tuple[str, ...]:
    """The observed tensors that share the threshold of one that is read; () when it is not to be judged."""
    answer = plan.answers[tensor]
    if answer.how == "constant" or answer.source not in tensors:
        return ()
    return next((tuple(names) for names in plan.merged if answer.source in names), (answer.source,))
