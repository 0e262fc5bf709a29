"""Why the products of a Q/DQ model have no pairs, as far as the rules of quantize explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.surgeon import import_graph
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.weighted import is_weighted, why_left

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["why_unpaired"]


def why_unpaired(path: str | Path) -> dict[str, str]:
    """Conv, ConvTranspose, Gemm and MatMul nodes that quantize leaves in floating point by default -> why.

    Nodes go by name, or by first output where they have none. Of a node that no rule leaves, it can only be said
    that it was excluded or that its input had no scale. Empty for a model that ONNX Runtime does not load.
    """
    try:
        graph = import_graph(load(path))
    except ModelError:
        return {}
    options = QdqOptions()
    return {
        node.name or node.outputs[0].name: why_left(node, options) or "excluded, or no scale for its input"
        for node in graph.nodes
        if is_weighted(node) and node.outputs
    }
