"""Runs a subgraph, on the values that its tensors have or on others put in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.run.session import Session
from onnx_trtcal.scales import QUANTIZED_MAX, to_scale

if TYPE_CHECKING:
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.search.subgraph import Subgraph

__all__ = ["Feeds", "SessionOptions", "SubgraphRunner", "inner", "quantized"]

Feeds = Mapping[str, np.ndarray]
SessionOptions = tuple["Provider", int | None, Sequence[str]]
"""Provider, threads, ort_custom_ops: as for Session."""

_WHERE = "a sample of the search"  # for error messages


def quantized(values: np.ndarray, threshold: float) -> np.ndarray:
    """S * clip(round(x / s), -127, 127) with s = threshold / 127 in float32, in the dtype of `values`."""
    scale = np.float32(to_scale(threshold))
    steps = np.asarray(values, dtype=np.float32) / scale
    np.clip(np.rint(steps, out=steps), -QUANTIZED_MAX, QUANTIZED_MAX, out=steps)
    steps *= scale
    return steps.astype(values.dtype, copy=False)


def inner(one: np.ndarray, other: np.ndarray) -> float:
    """The sum of products of two float64 arrays of one shape, added up in one order whatever the machine."""
    # BLAS splits the sum among threads, and those that wait spin on the cores that run the network.
    return float(np.einsum("i,i->", one.ravel(), other.ravel()))


class SubgraphRunner:
    """The two sessions of a subgraph: up to the tensors it reads, and from there to those that are wanted.

    Args:
        subgraph: what to run.
        feeds: a sample, for the types of its arrays.
        options: as for Session.
        known: values of the tensors that the subgraph calls known.
    """

    def __init__(
        self, subgraph: Subgraph, feeds: Feeds, options: SessionOptions, known: Feeds | None = None
    ) -> None:
        self.subgraph = subgraph
        self._known = dict(known or {})
        self._before: Session | None = None
        graph = subgraph.graph
        if subgraph.computed:
            before = graph.before(subgraph.computed)
            fed = {name: _elem_type(array) for name, array in feeds.items()}
            self._before = Session(graph.model(before, fed, subgraph.computed), *options)
        arrays = self.arrays(feeds)
        types = {name: _elem_type(arrays[name]) for name in subgraph.boundary}
        types.update({new: _elem_type(arrays[name]) for name, new in subgraph.replaceable.items()})
        self._session = Session(
            graph.model(subgraph.nodes, types, subgraph.wanted, subgraph.rewired), *options
        )

    def arrays(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """All that the subgraph reads for one sample, in floating point."""
        arrays = {**self._known, **{name: feeds[name] for name in self.subgraph.given}}
        if self._before is not None:
            arrays.update(zip(self.subgraph.computed, self._before.run(feeds, _WHERE), strict=True))
        return arrays

    def run(self, arrays: Feeds, replaced: Feeds) -> list[np.ndarray]:
        """The values of `named`, in the order of the wanted tensors."""
        return list(self.named(arrays, replaced).values())

    def named(self, arrays: Feeds, replaced: Feeds) -> dict[str, np.ndarray]:
        """The wanted tensors in float64, by name; those that are not floats are left out.

        Args:
            arrays: from `arrays`.
            replaced: tensor -> what is put in its place; the others are read as they are.
        """
        feeds = {name: arrays[name] for name in self.subgraph.boundary}
        for name, new in self.subgraph.replaceable.items():
            feeds[new] = replaced[name] if name in replaced else arrays[name]
        found = zip(self.subgraph.wanted, self._session.run(feeds, _WHERE), strict=True)
        return {name: array.astype(np.float64) for name, array in found if array.dtype.kind == "f"}


def _elem_type(array: np.ndarray) -> int:
    return int(np_dtype_to_tensor_dtype(array.dtype))
