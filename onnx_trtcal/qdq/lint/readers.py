"""The layers behind a Q or DQ node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import COMMUTES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.layer_rules import is_layer
from onnx_trtcal.qdq.read.quantizer import is_dequantizer, is_quantizer

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

__all__ = ["layers_behind", "reads_dequantized"]


def layers_behind(node: gs.Node) -> tuple[gs.Node, ...]:
    """The layers whose first two inputs read what a Q or DQ makes, past pairs and ops that only move values."""
    found: list[gs.Node] = []
    pending, seen = list(node.outputs), {tensor.name for tensor in node.outputs}
    while pending:
        tensor = pending.pop()
        for reader in tensor.outputs:
            if is_layer(reader):
                if any(each is tensor for each in reader.inputs[:2]):
                    found.append(reader)
            elif is_quantizer(reader) or is_dequantizer(reader) or kind(reader) in COMMUTES:
                following = [each for each in reader.outputs if each.name not in seen]
                seen.update(each.name for each in following)
                pending += following
    return tuple(found)


def reads_dequantized(layer: gs.Node) -> tuple[bool, bool]:
    """Whether each operand of a layer is made by a DQ, past ops that only move values."""
    first, second = (_is_dequantized(tensor) for tensor in layer.inputs[:2])
    return first, second


def _is_dequantized(tensor: gs.Tensor) -> bool:
    seen: set[str] = set()
    while len(tensor.inputs) == 1 and tensor.name not in seen:
        seen.add(tensor.name)
        maker = tensor.inputs[0]
        if is_dequantizer(maker):
            return True
        if kind(maker) not in COMMUTES:
            return False
        tensor = maker.inputs[0]
    return False
