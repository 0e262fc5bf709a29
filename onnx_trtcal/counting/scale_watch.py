"""Which scales can be watched while the data is counted, and at which samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.counting.checkpoint import looks_path
from onnx_trtcal.counting.convergence import Watch, final_marks, growing_marks
from onnx_trtcal.methods import solve_all

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.collection import Collection

__all__ = ["ScaleWatch"]


class ScaleWatch:
    """Makes the watch of a counting pass.

    Args:
        prepared: the methods and the ties.
        options: `until_stable`, the range rule and the threads.
        total: how many samples there are; None when that is not known.
        passes: over the data.
    """

    def __init__(self, prepared: Prepared, options: Options, total: int | None, passes: int) -> None:
        self._methods = {
            name: method for name, method in prepared.methods.items() if method.needs != "second pass"
        }
        self._prepared = prepared
        self._options = options
        self._total = total
        self._passes = passes

    @property
    def obstacle(self) -> str:
        """Why no scale can be watched; an empty string when some can."""
        if not self._methods:
            return "no scale is known before the second pass"
        return "it would stop each pass at another sample" if self._passes > 1 else ""

    @property
    def batch_ends(self) -> frozenset[int]:
        """Sample counts at which a batch ends; TensorRT's range rule depends on the batches and keeps its own."""
        return self._marks if self._options.range == "stable" else frozenset()

    def watch(self, fresh: Collection, checkpoint: Path | None) -> Watch:
        """The watch over a collection that is about to be counted, or resumed from a checkpoint."""
        options = self._options
        job = {
            "model": fresh.model,
            "rule": fresh.rule,
            "options": fresh.options,
            "methods": {name: str(method) for name, method in self._methods.items()},
            "until_stable": options.until_stable,
            "samples": None if options.until_stable else self._total,
        }
        path = looks_path(checkpoint) if checkpoint else None
        return Watch(self._solve, self._marks, options.until_stable, path, job)

    @property
    def _marks(self) -> frozenset[int]:
        if self.obstacle:
            return frozenset()
        if self._options.until_stable or self._total is None:
            return growing_marks()
        return final_marks(self._total)

    def _solve(self, collection: Collection) -> Mapping[str, float]:
        histograms = collection.tied_histograms(self._prepared.ties)
        solved = {name: histograms[name] for name in self._methods}
        return solve_all(solved, self._methods, self._options.threads)
