"""Readers of a tensor that has a pair take the pair, too, where that spares writing the tensor twice.

A tensor that a layer reads through its pair and another op as it is must be written in INT8 and in floating point.
Where all its other readers compute in the kernel they are in anyway, they read the INT8 values just as well, and the
float tensor is neither written nor read. NVIDIA's compiler moves up to a third fewer float bytes for it; where no layer
reads the pair it moves the same, and behind a MaxPool or Concat, whose branches it joins, more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import INT8_CAPABLE, POINTWISE
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.layer_rules import is_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.flow import Flow
    from onnx_trtcal.qdq.place.pair_reads import PairReads

__all__ = ["share_pairs"]

_TAKE_PAIRS = POINTWISE | INT8_CAPABLE | {"PRelu"}


def share_pairs(
    flow: Flow, pairs: PairReads, stays_float: Callable[[gs.Node], bool], mixed: Container[str] = ()
) -> None:
    """Adds reads to the pairs that there are.

    Args:
        flow: the graph.
        pairs: the pairs decided so far; reads are added.
        stays_float: whether a node was excluded from quantization.
        mixed: outputs of the Concats that one scale does not serve: what decodes them reads them in floating point.
    """
    for tensor, reads in list(pairs.reads.items()):
        others = pairs.raw_readers(tensor)
        if flow.is_output(tensor) or not any(is_layer(flow.node[read.node]) for read in reads):
            continue
        if flow.root(tensor) in mixed:
            continue
        if all(index >= 0 and kind(node) in _TAKE_PAIRS and not stays_float(node) for node, index in others):
            for node, index in others:
                pairs.add(tensor, node.outputs[0].name, index)
