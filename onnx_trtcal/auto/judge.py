"""Runs the network with one tensor quantized at a time and measures what that does to its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.auto.choose import promising
from onnx_trtcal.auto.watched import watched
from onnx_trtcal.run.session import Session
from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from onnx_trtcal.auto.cut import Cutter
    from onnx_trtcal.qdq.placement import Activation
    from onnx_trtcal.run.provider import Provider

__all__ = ["Judge", "quantized"]

Feeds = Mapping[str, np.ndarray]
# After this share of the samples the candidates that are far off are not run any more.
_FIRST = 4


def quantized(values: np.ndarray, threshold: float) -> np.ndarray:
    """s * clip(round(x / s), -127, 127) with s = threshold / 127 in float32, in the dtype of `values`."""
    scale = np.float32(to_scale(threshold))
    steps = np.asarray(values, dtype=np.float32) / scale
    np.clip(np.rint(steps, out=steps), -127, 127, out=steps)
    steps *= scale
    return steps.astype(values.dtype, copy=False)


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
        provider, threads, ort_custom_ops: as for Session.
    """

    def __init__(
        self,
        cutter: Cutter,
        samples: Sequence[Feeds],
        provider: Provider,
        threads: int | None = None,
        ort_custom_ops: Sequence[str] = (),
    ) -> None:
        self._cutter = cutter
        self._samples = samples
        self._session_options = (provider, threads, ort_custom_ops)
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
        part = _Part(self._cutter, tuple(activations), self._watched)
        if not part.wanted or not self._samples:
            return {}
        runs = _Runs(part, self._cutter, self._samples[0], self._session_options)
        first = -(-len(self._samples) // _FIRST)
        names = list(thresholds)
        totals: dict[str, _Error] = {}
        for count, feeds in enumerate(self._samples, 1):
            for name, error in runs.one(feeds, {name: thresholds[name] for name in names}).items():
                total = totals.setdefault(name, error)
                if total is not error:
                    total.noise += error.noise
                    total.signal += error.signal
            if count == first:
                names = promising({name: totals[name].relative() for name in names})
        return {name: totals[name].relative() for name in names}


class _Part:
    """The nodes behind some activations, and the names they are cut at."""

    def __init__(self, cutter: Cutter, activations: Sequence[Activation], among: Sequence[str]) -> None:
        self.fresh = {a.tensor: f"{a.tensor}@quantized" for a in activations}
        self.instead = {(r.node, r.index): self.fresh[a.tensor] for a in activations for r in a.reads}
        self.behind = cutter.behind(read for a in activations for read in a.reads)
        made = {name for at in self.behind for name in cutter.nodes[at].output}
        self.wanted = tuple(name for name in among if name in made)
        self.boundary = cutter.boundary(self.behind, frozenset(self.instead))
        needed = dict.fromkeys((*self.fresh, *self.boundary))
        self.given = tuple(name for name in needed if name in cutter.inputs)
        self.computed = tuple(name for name in needed if name not in cutter.inputs)


class _Runs:
    """The two sessions of a part: up to where it is quantized, and from there to the watched tensors."""

    def __init__(
        self,
        part: _Part,
        cutter: Cutter,
        feeds: Feeds,
        options: tuple[Provider, int | None, Sequence[str]],
    ) -> None:
        self._part = part
        self._before: Session | None = None
        if part.computed:
            before = cutter.before(part.computed)
            fed = {name: _elem_type(array) for name, array in feeds.items()}
            self._before = Session(cutter.model(before, fed, part.computed), *options)
        arrays = self._arrays(feeds)
        types = {name: _elem_type(arrays[name]) for name in part.boundary}
        types.update({fresh: _elem_type(arrays[name]) for name, fresh in part.fresh.items()})
        self._behind = Session(cutter.model(part.behind, types, part.wanted, part.instead), *options)

    def one(self, feeds: Feeds, thresholds: Mapping[str, float]) -> dict[str, _Error]:
        """What each candidate does to one sample."""
        arrays = self._arrays(feeds)
        boundary = {name: arrays[name] for name in self._part.boundary}
        exact = self._run(boundary, {fresh: arrays[name] for name, fresh in self._part.fresh.items()})
        signal = np.array([_power(array) for array in exact])
        found = {}
        for candidate, threshold in thresholds.items():
            fresh = {new: quantized(arrays[old], threshold) for old, new in self._part.fresh.items()}
            got = self._run(boundary, fresh)
            noise = np.array([_power(a - b) for a, b in zip(exact, got, strict=True)])
            found[candidate] = _Error(noise, signal.copy())
        return found

    def _arrays(self, feeds: Feeds) -> dict[str, np.ndarray]:
        arrays = {name: feeds[name] for name in self._part.given}
        if self._before is not None:
            arrays.update(zip(self._part.computed, self._before.run(feeds, "to judge"), strict=True))
        return arrays

    def _run(self, boundary: Feeds, fresh: Feeds) -> list[np.ndarray]:
        """Watched tensors in float64; those that are no floats are left out."""
        found = self._behind.run({**boundary, **fresh}, "to judge")
        return [array.astype(np.float64) for array in found if array.dtype.kind == "f"]


def _power(array: np.ndarray) -> float:
    """The sum of squares of the finite values."""
    flat = array.ravel()
    flat = flat[np.isfinite(flat)]
    return float(flat @ flat)


def _elem_type(array: np.ndarray) -> int:
    return int(np_dtype_to_tensor_dtype(array.dtype))
