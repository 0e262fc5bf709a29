"""Computes the Q and DQ of float16 tensors in float32, whatever ONNX Runtime's own float16 kernels do.

Below 1.30, ONNX Runtime's QuantizeLinear of float16 divides and rounds in float16, so that values fall on other
codes than the standard and TensorRT give (measured on 1.29: output SQNR 29.8 dB for 35.2). Casts to float32 and back
are exact; the one rounding that is left, of the product of code and scale to float16, is the standard's.
"""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from onnx_trtcal.graph.model.nodes import bodies, graphs_of
from onnx_trtcal.graph.model.refill import refill

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

__all__ = ["half_qdq_in_float32"]

_OPS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def half_qdq_in_float32(model_bytes: bytes) -> bytes:
    """The model with float32 arithmetic in every Q and DQ whose scale is float16, also in subgraphs.

    Args:
        model_bytes: a serialised model; types of tensors that are neither initializers nor constants are taken from
            what the model declares.

    Returns:
        The same bytes where no such node is.
    """
    model = onnx.ModelProto.FromString(model_bytes)
    names = _Fresh(model.graph)
    changed = _rewrite(model.graph, ChainMap(), names)
    return model.SerializeToString() if changed else model_bytes


class _Fresh:
    """Gives out names that no tensor of the model or of a subgraph has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = set(_names(graph))

    def name(self, wanted: str) -> str:
        found, number = wanted, 1
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._taken.add(found)
        return found


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    for each in graphs_of(graph):
        yield from (value.name for value in (*each.input, *each.value_info))
        yield from (tensor.name for tensor in each.initializer)
        for node in each.node:
            yield from (*node.input, *node.output)


def _rewrite(graph: onnx.GraphProto, outer: ChainMap[str, int], names: _Fresh) -> bool:
    types = outer.new_child(_types(graph))
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        for inner in bodies(node):
            changed |= _rewrite(inner, types, names)
        if _is_half(node, types):
            nodes += _in_float32(node, names)
            changed = True
        else:
            nodes.append(node)
    if changed:
        refill(graph.node, nodes)
    return changed


def _types(graph: onnx.GraphProto) -> MutableMapping[str, int]:
    """Element types by tensor, as far as they are told."""
    found = {
        each.name: each.type.tensor_type.elem_type
        for each in (*graph.input, *graph.value_info, *graph.output)
        if each.type.HasField("tensor_type")
    }
    found.update((each.name, each.data_type) for each in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            found.update(
                (node.output[0], each.t.data_type) for each in node.attribute if each.name == "value"
            )
        elif node.op_type == "Cast":
            found.update((node.output[0], each.i) for each in node.attribute if each.name == "to")
    return found


def _is_half(node: onnx.NodeProto, types: ChainMap[str, int]) -> bool:
    return (
        node.op_type in _OPS
        and node.domain in _DOMAINS
        and len(node.input) > 1
        and types.get(node.input[1]) == TensorProto.FLOAT16
        and not any(each.name == "precision" and each.i for each in node.attribute)
    )


def _in_float32(node: onnx.NodeProto, names: _Fresh) -> list[onnx.NodeProto]:
    """The node with casts around it; its output keeps its name and its type."""
    wide = onnx.NodeProto.FromString(node.SerializeToString())
    made = [_cast(node.input[1], names.name(f"{node.input[1]}_float32"), TensorProto.FLOAT)]
    wide.input[1] = made[0].output[0]
    if node.op_type == "QuantizeLinear":
        made.append(_cast(node.input[0], names.name(f"{node.input[0]}_float32"), TensorProto.FLOAT))
        wide.input[0] = made[1].output[0]
        return [*made, wide]
    told = [each.i for each in node.attribute if each.name == "output_dtype" and each.i]
    kept = [each for each in node.attribute if each.name != "output_dtype"]
    del wide.attribute[:]
    wide.attribute.extend(kept)
    wide.output[0] = names.name(f"{node.output[0]}_float32")
    return [*made, wide, _cast(wide.output[0], node.output[0], told[0] if told else TensorProto.FLOAT16)]


def _cast(name: str, to: str, elem_type: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [to], to=elem_type)
