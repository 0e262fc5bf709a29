"""The `--layerPrecisions` string that makes an implicit build quantize the layers a Q/DQ model quantizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from onnx_trtcal.qdq.weighted import is_weighted

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["layer_precisions", "precisions_of"]


def precisions_of(graph: gs.Graph, read_quantized: frozenset[tuple[str, int]]) -> dict[str, str]:
    """Node name -> `int8` or `fp16`, for the nodes whose precision a Q/DQ model fixes, in graph order.

    A node runs in INT8 when its data inputs come from DQ: both inputs of a weighted op, some input of another
    one. A weighted op without is held in fp16; TensorRT decides about the rest. A node without a name is left
    out, because TensorRT gives it one of its own.

    Args:
        graph: the float graph.
        read_quantized: (first output of a node, input index) of what was read from a DQ.
    """
    found: dict[str, str] = {}
    for node in graph.nodes:
        if not node.name or not node.outputs:
            continue
        quantized = [(node.outputs[0].name, index) in read_quantized for index in range(len(node.inputs))]
        if is_weighted(node):
            found[node.name] = "int8" if all(quantized[:2]) else "fp16"
        elif any(quantized):
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
