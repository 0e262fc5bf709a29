"""The `--layerPrecisions` string that makes an implicit build quantize the layers a Q/DQ model quantizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from onnx_trtcal.graph.ops import COMMUTES, INT8_CAPABLE
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.layer_rules import is_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.graph.flow import Flow

__all__ = ["Precision", "layer_precisions", "precisions_of"]

Precision = Literal["int8", "fp16"]


def precisions_of(flow: Flow, read_quantized: frozenset[tuple[str, int]]) -> dict[str, Precision]:
    """Node name -> `int8` or `fp16`, for the nodes whose precision a Q/DQ model fixes, in graph order.

    A node runs in INT8 when its data inputs come from DQ: both inputs of a layer, any input of another op. A DQ
    in front of ops that only move values counts for an op behind them that has INT8 kernels. A layer whose
    inputs do not come from DQ is kept in fp16; TensorRT decides about the rest. A node without a name is left
    out, because TensorRT makes up a name for it.

    Args:
        flow: the float graph.
        read_quantized: (first output of a node, input index) of what was read from a DQ.
    """
    found: dict[str, Precision] = {}
    for node in flow.nodes:
        if not node.name:
            continue
        inputs = range(len(node.inputs))
        if is_layer(node):
            both = all(flow.reads_dequantized(node, index, read_quantized) for index in inputs[:2])
            found[node.name] = "int8" if both else "fp16"
        elif any((node.outputs[0].name, index) in read_quantized for index in inputs) or (
            kind(node) in COMMUTES | INT8_CAPABLE
            and any(flow.reads_dequantized(node, index, read_quantized) for index in inputs)
        ):
            found[node.name] = "int8"
    return found


def layer_precisions(precisions: Mapping[str, Precision]) -> str:
    """What to pass as `trtexec --layerPrecisions=…` (with `--precisionConstraints=obey` or `prefer`).

    trtexec separates layers by commas and a name from its precision by a colon, and has no quoting: nodes with
    either in their names are left out.
    """
    return ",".join(
        f"{name}:{precision}" for name, precision in precisions.items() if not set(name) & {",", ":"}
    )
