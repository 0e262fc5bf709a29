"""quantize_model(): from a float model and its scales to a Q/DQ model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError
from onnx_trtcal.qdq.export_target import with_metadata, with_opset, without_value_info
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place.mixed_concats import mixed_concats
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.qdq.scale_record import RECORD_KEY, Record, dump_record
from onnx_trtcal.qdq.write.insert import Inserted, quantize_graph
from onnx_trtcal.scales import QUANTIZED_MAX

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["Layer", "Quantized", "quantize_model"]


@dataclass(frozen=True)
class Layer:
    """A weighted op.

    Attributes:
        name: the node's name, or its first output where it has none.
        op: its op type.
        reason: why it stays in floating point; empty when it is quantized.
    """

    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class Quantized:
    """A Q/DQ model that is not written yet.

    Attributes:
        graph: the graph with its pairs.
        model: what `graph` is exported against: the original with the new opset and the scale record.
        placement: where the pairs are, and which layers were left alone and why.
        inserted: the scales as written, and dead weight channels.
        layers: every weighted op, in graph order.
        quantized_names: names of the quantized layers in the model that is written, where float16 may have given a node
            another output; first outputs where they have no name.
    """

    graph: gs.Graph
    model: Model
    placement: Placement
    inserted: Inserted
    layers: tuple[Layer, ...]
    quantized_names: frozenset[str]

    def proto(self) -> onnx.ModelProto:
        """The model in memory; external weights that were not quantized stay external."""
        from onnx_trtcal.graph.model.exporter import export_model

        return export_model(self.graph, self.model)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the model; returns the files written."""
        from onnx_trtcal.graph.model.save import save_model

        return save_model(self.graph, self.model, path)


def quantize_model(
    model: Model,
    scales: Mapping[str, float],
    options: QdqOptions = QdqOptions(),
    unseen: Collection[str] = (),
    given: GivenWeights = GivenWeights(),
) -> Quantized:
    """The explicitly quantized form of a float model.

    BatchNormalization is folded first, so that weight scales are those of the weights TensorRT runs.

    Args:
        model: the float model; not changed.
        scales: tensor -> scale (threshold / 127). A layer whose input has no scale is left in floating point.
        options: which layers, and how weights are stored.
        unseen: tensors whose scale is made up, because no value of theirs was ever seen: a layer that reads one is
            left in floating point, too.
        given: scales and integers of weights, and biases, that a search found.

    Raises:
        ModelError: nothing can be quantized, or the opset cannot be raised.
        OptionError: a scale is negative or not finite.
    """
    from onnx_trtcal.graph.flow import Flow
    from onnx_trtcal.graph.fold.fold import fold
    from onnx_trtcal.graph.groups.group import find_groups
    from onnx_trtcal.graph.model.importer import import_graph

    graph = import_graph(model)
    fold(graph)
    kept = {name: scale * QUANTIZED_MAX for name, scale in scales.items() if name not in unseen}
    mixed = mixed_concats(Flow(graph), kept)
    placement = place(graph, find_groups(graph, model.shapes), options, scales, unseen, mixed)
    if not placement.quantized:
        why = (
            "; ".join(sorted(set(placement.left.values()))) or "it has no Conv, ConvTranspose, Gemm or MatMul"
        )
        raise ModelError(
            f"no layer of the model can be quantized: {why}",
            fix="see target, min_channels, gemv and exclude; do the scales belong to this model?",
        )
    # Found before float16 gives outputs other names and lets Casts make them.
    reasons = {**dict.fromkeys(placement.quantized, ""), **placement.left}
    outputs = [node.outputs[0].name if node.outputs else "" for node in graph.nodes]
    layers = [(node, name) for node, name in zip(graph.nodes, outputs, strict=True) if name in reasons]
    inserted = quantize_graph(graph, placement, scales, options, given)
    recorded = {name: float(np.float32(scale)) for name, scale in scales.items()}
    record = dump_record(Record(recorded, inserted.scales, tuple(name for name in scales if name in unseen)))
    target = with_metadata(with_opset(model, graph.opset), RECORD_KEY, record)
    if options.high_precision == "fp16":
        target = without_value_info(target)
    named = tuple(Layer(node.name or name, node.op, reasons[name]) for node, name in layers)
    written = frozenset(node.name or node.outputs[0].name for node, name in layers if not reasons[name])
    return Quantized(graph, target, placement, inserted, named, written)
