"""The `--layerPrecisions` string that makes an implicit build quantize the layers a Q/DQ model quantizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import COMMUTES, INT8_CAPABLE
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.weighted import is_weighted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.graph.flow import Flow

__all__ = ["layer_precisions", "precisions_of"]


def precisions_of(flow: Flow, read_quantized: frozenset[tuple[str, int]]) -> dict[str, str]:
    """Node name -> `int8` or `fp16`, for the nodes whose precision a Q/DQ model fixes, in graph order.

    A node runs in INT8 when its data inputs come from DQ: both inputs of a weighted op, some input of another
    one. A DQ before ops that only move values counts for an op that has INT8 kernels behind them. A weighted op
    without is held in fp16; TensorRT decides about the rest. A node without a name is left out, because
    TensorRT gives it one of its own.

    Args:
        flow: the float graph.
        read_quantized: (first output of a node, input index) of what was read from a DQ.
    """
    found: dict[str, str] = {}
    for node in flow.nodes:
        if not node.name:
            continue
        inputs = range(len(node.inputs))
        if is_weighted(node):
            both = all(flow.reads_dequantized(node, index, read_quantized) for index in inputs[:2])
            found[node.name] = "int8" if both else "fp16"
        elif any((node.outputs[0].name, index) in read_quantized for index in inputs) or (
            kind(node) in COMMUTES | INT8_CAPABLE
            and any(flow.reads_dequantized(node, index, read_quantized) for index in inputs)
        ):
            found[node.name] = "int8"
    return found


def layer_precisions(precisions: Mapping[str, str]) -> str:
    """What to pass as `trtexec --layerPrecisions=…` (with `--precisionConstraints=obey` or `prefer`).

    trtexec separates layers by commas and the name from its precision by a colon, and knows no quoting: nodes
    with either in their names are left out.
    """
    return ",".join(
        f"{name}:{precision}" for name, precision in precisions.items() if not set(name) & {",", ":"}
    )
