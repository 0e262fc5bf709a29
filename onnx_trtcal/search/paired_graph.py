"""Some nodes of a graph as a model with Q/DQ pairs whose scales are fed.

tensor ─► QuantizeLinear ─► DequantizeLinear ─► the reads that are in INT8
                scale ─┴───────────┘

A scale is one number, or one for each row along axis 0: then a batch may hold a variant of the network in every row,
and many of them are run together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.graph.model.external import reference
from onnx_trtcal.graph.model.refill import refill
from onnx_trtcal.graph.model.split import SMALL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.graph.probe import Probe
    from onnx_trtcal.qdq.place.placement import Activation
    from onnx_trtcal.search.subgraph import ExportedGraph

__all__ = ["Pairs", "paired_model", "scale_feeds"]

# ONNX Runtime's own operators take a scale per row whatever opset the model has.
_DOMAIN = "com.microsoft"
_ZERO_POINT = "@zero_point"


@dataclass(frozen=True)
class Pairs:
    """What is quantized.

    Attributes:
        activations: the pairs.
        elem_types: tensor with a pair -> its ONNX element type.
        weights: (first output of a node, position of its input) -> the weight that it reads there instead.
    """

    activations: Sequence[Activation]
    elem_types: Mapping[str, int]
    weights: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)


def paired_model(
    graph: ExportedGraph, nodes: Sequence[int], fed: Mapping[str, int], wanted: Sequence[str], pairs: Pairs
) -> Probe:
    """Some nodes of a graph as a model that reads tensors through pairs; `scale_feeds` makes what it is fed besides.

    Args:
        graph: the whole graph.
        nodes: positions of the nodes.
        fed: names of the model's inputs -> their ONNX element types.
        wanted: the model's outputs.
        pairs: what is quantized.
    """
    rewired = {
        (read.node, read.index): f"{each.tensor}@int8" for each in pairs.activations for read in each.reads
    }
    rewired.update({place: _weight_name(place) for place in pairs.weights})
    plain = graph.model(nodes, fed, wanted, rewired)
    proto = onnx.load_model_from_string(plain.model_bytes)
    arrays = dict(plain.external)
    for place, values in pairs.weights.items():
        name = _weight_name(place)
        if values.nbytes < SMALL_BYTES:
            proto.graph.initializer.append(numpy_helper.from_array(values, name))
        else:
            arrays[name] = np.ascontiguousarray(values)
            elem_type = int(helper.np_dtype_to_tensor_dtype(values.dtype))
            proto.graph.initializer.append(reference(name, elem_type, values.shape))
    _insert_pairs(proto, pairs)
    return replace(plain, model_bytes=proto.SerializeToString(), external=arrays)


def scale_feeds(scales: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a paired model is fed besides its inputs.

    Args:
        scales: tensor with a pair -> float32 scalar, or float32[n] for the n rows along its axis 0.
    """
    feeds = {f"{tensor}@scale": np.asarray(scale, np.float32) for tensor, scale in scales.items()}
    feeds.update(
        {f"{tensor}{_ZERO_POINT}": np.zeros(np.shape(scale), np.int8) for tensor, scale in scales.items()}
    )
    return feeds


def _insert_pairs(proto: onnx.ModelProto, pairs: Pairs) -> None:
    """Puts every pair right behind the node that makes its tensor."""
    nodes = list(proto.graph.node)
    maker = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    behind: dict[int, list[onnx.NodeProto]] = {}
    for activation in pairs.activations:
        tensor = activation.tensor
        pair = behind.setdefault(maker.get(tensor, -1), [])
        pair.extend(_pair(tensor, pairs.elem_types[tensor]))
        for suffix, kind in (("@scale", TensorProto.FLOAT), (_ZERO_POINT, TensorProto.INT8)):
            proto.graph.input.append(helper.make_tensor_value_info(tensor + suffix, kind, None))
    ordered = [*behind.get(-1, ())]
    for at, node in enumerate(nodes):
        ordered += [node, *behind.get(at, ())]
    refill(proto.graph.node, ordered)
    if not any(entry.domain == _DOMAIN for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _pair(tensor: str, elem_type: int) -> Iterator[onnx.NodeProto]:
    parameters = [f"{tensor}@scale", f"{tensor}{_ZERO_POINT}"]
    last, read = f"{tensor}@int8", tensor
    if elem_type != TensorProto.FLOAT:
        read, last = f"{tensor}@float", f"{tensor}@int8_float"
        yield helper.make_node("Cast", [tensor], [read], to=TensorProto.FLOAT)
    quantized = f"{tensor}@quantized"
    yield helper.make_node("QuantizeLinear", [read, *parameters], [quantized], domain=_DOMAIN, axis=0)
    yield helper.make_node("DequantizeLinear", [quantized, *parameters], [last], domain=_DOMAIN, axis=0)
    if elem_type != TensorProto.FLOAT:
        yield helper.make_node("Cast", [last], [f"{tensor}@int8"], to=elem_type)


def _weight_name(place: tuple[str, int]) -> str:
    return f"{place[0]}@weight{place[1]}"
