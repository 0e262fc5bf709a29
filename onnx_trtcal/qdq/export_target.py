"""The model that a rewritten graph is exported against: the original with another opset and other metadata.

Export takes everything that a graph does not hold from such a model: metadata, opsets of other domains, type
statements, and initializers that stay in external files.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper

from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.ops import is_standard_domain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_trtcal.graph.model.load import Model

__all__ = ["with_metadata", "with_opset", "without_qdq_nodes", "without_value_info"]

_PAIRS = ("QuantizeLinear", "DequantizeLinear")
_EIGHT_BITS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def with_opset(model: Model, opset: int) -> Model:
    """A copy of the model with this ONNX opset, and with the IR version raised to what the opset needs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    if not any(is_standard_domain(entry.domain) for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("", opset))
    for entry in proto.opset_import:
        if is_standard_domain(entry.domain):
            entry.version = opset
    needed = helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    proto.ir_version = max(proto.ir_version, needed)
    return dataclasses.replace(model, proto=proto, original=model.original or model.proto)


def with_metadata(model: Model, key: str, text: str | None) -> Model:
    """The model, changed in place, with one metadata entry set, or removed where `text` is None."""
    kept = [entry for entry in model.proto.metadata_props if entry.key != key]
    _replace(model.proto.metadata_props, kept)
    if text is not None:
        model.proto.metadata_props.add(key=key, value=text)
    return model


def without_qdq_nodes(model: Model) -> Model:
    """The model, changed in place, without its Q/DQ nodes and what only they read.

    A tensor that held integers between a Q and a DQ is float in the new graph, so statements of 8-bit types are
    dropped, too; the runtime infers these types again.
    """
    graph = model.proto.graph
    pairs = [node for node in graph.node if node.op_type in _PAIRS]
    others = [node for node in graph.node if node.op_type not in _PAIRS]
    read_by_pairs = {name for node in pairs for name in node.input}
    kept = {name for node in others for name in reads(node)} | {value.name for value in graph.output}
    only = read_by_pairs - kept
    _replace(graph.node, others)
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name not in only])
    stated = [value for value in graph.value_info if value.type.tensor_type.elem_type not in _EIGHT_BITS]
    _replace(graph.value_info, stated)
    return model


def without_value_info(model: Model) -> Model:
    """The model, changed in place, without the types it states for inner tensors; the runtime infers them."""
    _replace(model.proto.graph.value_info, [])
    return model


def _replace(field: Any, values: Iterable[Any]) -> None:
    kept = list(values)
    del field[:]
    field.extend(kept)
