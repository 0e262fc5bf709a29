"""Runs one layer alone, on operands that are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.run.session import Session
from onnx_trtcal.scales import QUANTIZED_MAX, to_scale

if TYPE_CHECKING:
    from onnx_trtcal.qdq.place.placement import Read
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.search.subgraph import ExportedGraph

__all__ = ["Feeds", "LayerRunner", "SessionOptions", "quantized"]

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


class LayerRunner:
    """One node of a graph with operands of its own.

    Args:
        graph: the whole graph.
        at: position of the node.
        operands: name -> (where the node reads it, an array like those that will be fed).
        example: the other arrays that the node reads, by name.
        options: as for Session.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        at: int,
        operands: Mapping[str, tuple[Sequence[Read], np.ndarray]],
        example: Feeds,
        options: SessionOptions,
    ) -> None:
        self._fed = {name: f"{name}@fed" for name in operands}
        rewired = {
            (read.node, read.index): self._fed[name] for name, (of, _) in operands.items() for read in of
        }
        self._others = graph.boundary([at], frozenset(rewired))
        types = {name: int(np_dtype_to_tensor_dtype(example[name].dtype)) for name in self._others}
        types.update(
            {
                self._fed[name]: int(np_dtype_to_tensor_dtype(array.dtype))
                for name, (_, array) in operands.items()
            }
        )
        model = graph.model([at], types, [graph.nodes[at].output[0]], rewired)
        self._session = Session(model, *options)

    def run(self, arrays: Feeds, operands: Feeds) -> np.ndarray:
        """What the node makes.

        Args:
            arrays: what it reads besides, by name.
            operands: an array for each of its own.
        """
        feeds = {name: arrays[name] for name in self._others}
        feeds.update({self._fed[name]: array for name, array in operands.items()})
        return self._session.run(feeds, _WHERE)[0]
