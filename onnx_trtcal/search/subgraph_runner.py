"""Some nodes of a graph that can be run on what is put in the place of the tensors they read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.run.session import Session
from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from onnx_trtcal.qdq.place.placement import Read
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.search.subgraph import Cutter

__all__ = ["Feeds", "Part", "Runner", "SessionOptions", "inner", "quantized"]

Feeds = Mapping[str, np.ndarray]
SessionOptions = tuple["Provider", int | None, Sequence[str]]
"""Provider, threads, ort_custom_ops: as for Session."""


def quantized(values: np.ndarray, threshold: float) -> np.ndarray:
    """S * clip(round(x / s), -127, 127) with s = threshold / 127 in float32, in the dtype of `values`."""
    scale = np.float32(to_scale(threshold))
    steps = np.asarray(values, dtype=np.float32) / scale
    np.clip(np.rint(steps, out=steps), -127, 127, out=steps)
    steps *= scale
    return steps.astype(values.dtype, copy=False)


def inner(one: np.ndarray, other: np.ndarray) -> float:
    """The sum of products of two float64 arrays of one shape, added up in one order whatever the machine."""
    # BLAS splits the sum among threads, and those that wait spin on the cores that run the network.
    return float(np.einsum("i,i->", one.ravel(), other.ravel()))


class Part:
    """Some nodes, where they read something else than they did, and the names they are cut at.

    Args:
        cutter: the graph.
        nodes: positions of the nodes, in running order.
        reads: tensor -> the reads of it that are to see what is put in its place.
        wanted: tensors that the nodes make.
        known: tensors of `reads` whose values do not depend on the sample, such as weights.
    """

    def __init__(
        self,
        cutter: Cutter,
        nodes: Sequence[int],
        reads: Mapping[str, Iterable[Read]],
        wanted: Sequence[str],
        known: Iterable[str] = (),
    ) -> None:
        self.nodes, self.wanted = nodes, wanted
        self.fresh = {tensor: f"{tensor}@quantized" for tensor in reads}
        self.instead = {(r.node, r.index): self.fresh[tensor] for tensor, of in reads.items() for r in of}
        self.boundary = cutter.boundary(nodes, frozenset(self.instead))
        needed = dict.fromkeys((*self.fresh, *self.boundary))
        for name in known:
            del needed[name]
        self.given = tuple(name for name in needed if name in cutter.inputs)
        self.computed = tuple(name for name in needed if name not in cutter.inputs)


class Runner:
    """The two sessions of a part: up to the tensors it reads, and from there to those that are wanted.

    Args:
        part: what to run.
        cutter: the graph.
        feeds: a sample, for the types of its arrays.
        options: as for Session.
        known: values of the tensors that the part calls known.
    """

    def __init__(
        self,
        part: Part,
        cutter: Cutter,
        feeds: Feeds,
        options: SessionOptions,
        known: Feeds | None = None,
    ) -> None:
        self._part = part
        self._known = dict(known or {})
        self._before: Session | None = None
        if part.computed:
            before = cutter.before(part.computed)
            fed = {name: _elem_type(array) for name, array in feeds.items()}
            self._before = Session(cutter.model(before, fed, part.computed), *options)
        arrays = self.arrays(feeds)
        types = {name: _elem_type(arrays[name]) for name in part.boundary}
        types.update({fresh: _elem_type(arrays[name]) for name, fresh in part.fresh.items()})
        self._behind = Session(cutter.model(part.nodes, types, part.wanted, part.instead), *options)

    def arrays(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """All that the part reads from one sample, as it is."""
        arrays = {**self._known, **{name: feeds[name] for name in self._part.given}}
        if self._before is not None:
            arrays.update(zip(self._part.computed, self._before.run(feeds, "to judge"), strict=True))
        return arrays

    def run(self, arrays: Feeds, instead: Feeds) -> list[np.ndarray]:
        """The wanted tensors in float64; those that are no floats are left out.

        Args:
            arrays: from `arrays`.
            instead: tensor -> what is put in its place; the others are read as they are.
        """
        feeds = {name: arrays[name] for name in self._part.boundary}
        for name, fresh in self._part.fresh.items():
            feeds[fresh] = instead[name] if name in instead else arrays[name]
        found = self._behind.run(feeds, "to judge")
        return [array.astype(np.float64) for array in found if array.dtype.kind == "f"]


def _elem_type(array: np.ndarray) -> int:
    return int(np_dtype_to_tensor_dtype(array.dtype))
