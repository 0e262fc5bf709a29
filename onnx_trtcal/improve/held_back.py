"""How well a Q/DQ model keeps the outputs of its float model on a few samples that were held back from choosing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.blocks import BlockErrors, BlockFinder
from onnx_trtcal.graph.output_blocks import output_blocks
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
        self._layouts = output_blocks(model, graph, self._outputs)
        finder = BlockFinder(self._layouts)
        for arrays in self._exact:
            for name, array in zip(self._outputs, arrays, strict=True):
                if array.dtype.kind == "f":
                    finder.add(name, array)
        self._blocks = finder.blocks()

    def fidelity(self, graph: gs.Graph, model: Model) -> Fidelity:
        """That of a Q/DQ graph with the same outputs, every Q and DQ computed in float.

        Raises:
            ModelError: when ONNX Runtime cannot run it.
        """
        session = Session(probe(graph, model, self._outputs), *self._session_options, float_qdq=True)
        errors = BlockErrors(self._layouts)
        for feeds, exact in zip(self._samples, self._exact, strict=True):
            got = session.run(feeds, _WHERE)
            for name, one, other in zip(self._outputs, exact, got, strict=True):
                if one.dtype.kind == "f" and one.shape == other.shape:
                    errors.add(name, one, other)
        # NaN in a block is the worst that can be.
        found = [
            float(np.nan_to_num(np.clip(each.sqnr, -_PERFECT, _PERFECT), nan=-_PERFECT))
            for each in errors.of(self._blocks)
            if each.verdict
        ]
        return Fidelity(min(found, default=_PERFECT), float(np.mean(found)) if found else _PERFECT)
