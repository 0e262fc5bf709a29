"""How well a Q/DQ model keeps the outputs of its float model on a few samples that were held back from choosing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.distance import Distance
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.search.subgraph_runner import SessionOptions

__all__ = ["Fidelity", "HeldBack"]

# What counts as a perfect output, in dB: float32 holds no more.
_PERFECT = 140.0
_WHERE = "a sample that was held back"


@dataclass(frozen=True)
class Fidelity:
    """What INT8 leaves of a model's outputs.

    Attributes:
        worst: SQNR of the worst block of an output, in dB.
        mean: mean over the blocks, in dB.
    """

    worst: float
    mean: float

    def is_worse_than(self, other: Fidelity) -> bool:
        """Whether the worst block is worse, or all of them together are."""
        return self.worst < other.worst or self.mean < other.mean

    def gain_over(self, other: Fidelity) -> float:
        """How much better it is, in dB: the smaller of both differences."""
        return min(self.worst - other.worst, self.mean - other.mean)


class HeldBack:
    """Samples with the float model's outputs.

    Args:
        graph: the float graph.
        model: what it is exported against.
        outputs: the outputs to compare.
        samples: one feed per sample.
        session_options: as for Session.
    """

    def __init__(
        self,
        graph: gs.Graph,
        model: Model,
        outputs: Sequence[str],
        samples: Sequence[Mapping[str, np.ndarray]],
        session_options: SessionOptions,
    ) -> None:
        self._outputs = tuple(outputs)
        self._samples = list(samples)
        self._session_options = session_options
        session = Session(probe(graph, model, self._outputs), *session_options)
        self._exact = [session.run(feeds, _WHERE) for feeds in self._samples]

    def fidelity(self, graph: gs.Graph, model: Model) -> Fidelity:
        """That of a Q/DQ graph with the same outputs, every Q and DQ computed in float.

        Raises:
            ModelError: when ONNX Runtime cannot run it.
        """
        session = Session(probe(graph, model, self._outputs), *self._session_options, float_qdq=True)
        totals: dict[str, Distance] = {}
        for feeds, exact in zip(self._samples, self._exact, strict=True):
            got = session.run(feeds, _WHERE)
            for name, one, other in zip(self._outputs, exact, got, strict=True):
                if one.dtype.kind == "f" and one.shape == other.shape:
                    totals.setdefault(name, Distance()).add(one, other)
        found = [min(each.sqnr, _PERFECT) for each in totals.values() if each.signal]
        return Fidelity(min(found, default=_PERFECT), float(np.mean(found)) if found else _PERFECT)
