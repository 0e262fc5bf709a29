"""Readers of a tensor that has a pair take the pair, too, where that spares writing the tensor twice.

A tensor that one op reads through its pair and another as it is must be written in INT8 and in floating point. Where
all its other readers compute pointwise, they read the INT8 values just as well, in the kernel they are in anyway: the
float tensor is neither written nor read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import COMMUTES, POINTWISE, READ_NO_VALUES
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.flow import Flow
    from onnx_trtcal.qdq.place.pair_reads import PairReads

__all__ = ["share_pairs"]


def share_pairs(flow: Flow, pairs: PairReads, stays_float: Callable[[gs.Node], bool]) -> None:
    """Adds reads to pairs; no pair is made.

    Args:
        flow: the graph.
        pairs: the pairs decided so far; reads are added.
        stays_float: whether a node was excluded from quantization.
    """
    mode = os.environ.get("E", "1")
    allowed = POINTWISE | {"PRelu"}
    if "2" in mode:
        allowed = allowed | {"AveragePool", "GlobalAveragePool"}
    if "3" in mode:
        allowed = allowed | COMMUTES
    if mode == "0":
        return
    for tensor in [name for name in flow.tensors if name in pairs.reads]:
        raw = pairs.raw_readers(tensor)
        if not raw or flow.is_output(tensor):
            continue
        if all(index >= 0 and kind(node) in allowed and not stays_float(node) for node, index in raw):
            for node, index in raw:
                pairs.add(tensor, node.outputs[0].name, index)
