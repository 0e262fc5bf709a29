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

# What quantize leaves by default, and what it leaves with one option. 16 is where ModelOpt, for one, draws the line.
_RULES = (
    QdqOptions(),
    QdqOptions(target="rtx"),
    QdqOptions(attention="float"),
    QdqOptions(min_channels=16),
)
_NO_RULE = "no Q/DQ pair: excluded from quantization, or its input has no scale"


def why_unpaired(path: str | Path) -> dict[str, str]:
    """Layers without pairs -> why: the rule by which quantize leaves such a layer, by default or with an option.

    A model does not tell its options: a rule that only an option brings is named with it. Of a node that no rule
    leaves, it can only be said that it was excluded or that its input had no scale. Nodes go by name, or by first
    output where they have none; those that read a DequantizeLinear are left out. Empty for a model that cannot be
    read.
    """
    try:
        model = load(path)
        graph = import_graph(model)
    except ModelError:
        return {}
    constants = Constants(graph, model.proto.functions)
    return {
        node.name or node.outputs[0].name: _rule(node, constants) or _NO_RULE
        for node in graph.nodes
        if is_layer(node) and node.outputs and not _reads_pair(node)
    }


def _rule(node: gs.Node, constants: Constants) -> str | None:
    reasons = (why_left(node, options, constants) for options in _RULES)
    return next((reason for reason in reasons if reason is not None), None)


def _reads_pair(node: gs.Node) -> bool:
    return any(is_dequantizer(maker) for tensor in node.inputs[:2] for maker in tensor.inputs)
