"""Why layers of a Q/DQ model have no pairs, as far as the rules of quantize explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.layer_rules import is_layer, why_left
from onnx_trtcal.qdq.read.quantizer import is_dequantizer

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_graphsurgeon as gs

__all__ = ["why_unpaired"]

# Below it ModelOpt, for one, leaves layers alone.
_FEW = 16
_NO_RULE = "no Q/DQ pair: left out by an option of quantize, or its input has no scale"


def why_unpaired(path: str | Path) -> dict[str, str]:
    """Layers that quantize leaves in floating point, by default or by an option -> why.

    Nodes go by name, or by first output where they have none; those that read a DequantizeLinear are left out. Of a
    node that no rule leaves, it can only be said that it was excluded or that its input had no scale. Empty for a
    model that cannot be read.
    """
    try:
        model = load(path)
        graph = import_graph(model)
    except ModelError:
        return {}
    options, constants = (
        QdqOptions(min_channels=_FEW, attention=False),
        Constants(graph, model.proto.functions),
    )
    return {
        node.name or node.outputs[0].name: why_left(node, options, constants) or _NO_RULE
        for node in graph.nodes
        if is_layer(node) and node.outputs and not _reads_pair(node)
    }


def _reads_pair(node: gs.Node) -> bool:
    return any(is_dequantizer(maker) for tensor in node.inputs[:2] for maker in tensor.inputs)
