"""Runs the network with one tensor quantized at a time and measures what that does to its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.search.choose import promising
from onnx_trtcal.search.subgraph_runner import Feeds, Part, Runner, SessionOptions, inner, quantized
from onnx_trtcal.search.watched import watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.qdq.place.placement import Activation
    from onnx_trtcal.search.subgraph import Cutter

__all__ = ["Judge"]

# After this share of the samples the candidates that are far off are not run any more.
_FIRST = 4


@dataclass
class _Error:
    """Error and signal power per watched tensor, over some samples."""

    noise: np.ndarray
    signal: np.ndarray

    def relative(self) -> float:
        """The mean over the watched tensors of noise / signal; those that are all zero do not count."""
        some = self.signal > 0
        return float(np.mean(self.noise[some] / self.signal[some])) if some.any() else 0.0


class Judge:
    """The network, ready to be disturbed.

    Args:
        cutter: the folded graph.
        samples: one feed per sample.
        session_options: as for Session.
    """

    def __init__(self, cutter: Cutter, samples: Sequence[Feeds], session_options: SessionOptions) -> None:
        self._cutter = cutter
        self._samples = samples
        self._session_options = session_options
        self._watched = watched(cutter)

    def errors(self, activations: Iterable[Activation], thresholds: Mapping[str, float]) -> dict[str, float]:
        """The relative error power at the watched tensors for each candidate.

        Args:
            activations: what is quantized together, everything else being left in floating point.
            thresholds: candidate -> threshold, positive.

        Returns:
            The candidates that were not far off on the first quarter of the samples, with the mean over the
            watched float tensors of sum (y - y')^2 / sum y^2 over all samples; empty where nothing watched
            depends on these tensors.
        """
        reads = {activation.tensor: activation.reads for activation in activations}
        behind = self._cutter.behind(read for of in reads.values() for read in of)
        made = {name for at in behind for name in self._cutter.nodes[at].output}
        wanted = [name for name in self._watched if name in made]
        if not wanted or not self._samples:
            return {}
        part = Part(self._cutter, behind, reads, wanted)
        runner = Runner(part, self._cutter, self._samples[0], self._session_options)
        first = -(-len(self._samples) // _FIRST)
        names = list(thresholds)
        totals: dict[str, _Error] = {}
        for count, feeds in enumerate(self._samples, 1):
            for name, error in _errors(
                runner, part, feeds, {name: thresholds[name] for name in names}
            ).items():
                total = totals.setdefault(name, error)
                if total is not error:
                    total.noise += error.noise
                    total.signal += error.signal
            if count == first:
                names = promising({name: totals[name].relative() for name in names})
        return {name: totals[name].relative() for name in names}


def _errors(runner: Runner, part: Part, feeds: Feeds, thresholds: Mapping[str, float]) -> dict[str, _Error]:
    """What each candidate does to one sample."""
    arrays = runner.arrays(feeds)
    exact = runner.run(arrays, {})
    signal = np.array([_power(array) for array in exact])
    found = {}
    for candidate, threshold in thresholds.items():
        got = runner.run(arrays, {name: quantized(arrays[name], threshold) for name in part.fresh})
        noise = np.array([_power(a - b) for a, b in zip(exact, got, strict=True)])
        found[candidate] = _Error(noise, signal.copy())
    return found


def _power(array: np.ndarray) -> float:
    """The sum of squares of the finite values."""
    flat = array.ravel()
    flat = flat[np.isfinite(flat)]
    return inner(flat, flat)
