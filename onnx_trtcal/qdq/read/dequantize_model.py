"""dequantize_model(): from a Q/DQ model back to a float model and its scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.propagate import propagate_scales
from onnx_trtcal.qdq.export_target import with_metadata, with_opset, without_qdq_nodes
from onnx_trtcal.qdq.read.absorbed_activations import reinsert_absorbed_activations
from onnx_trtcal.qdq.read.precisions import Precision, precisions_of
from onnx_trtcal.qdq.read.remove import RemovedQdq, remove_qdq
from onnx_trtcal.qdq.scale_record import RECORD_KEY, Record, load_record
from onnx_trtcal.scales import unseen_text
from onnx_trtcal.trt.cache import Cache, header_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.qdq.read.quantizer import Quantizer

__all__ = ["Dequantized", "dequantize_model"]


@dataclass(frozen=True)
class Dequantized:
    """The float model that a Q/DQ model was made from, not written yet.

    Attributes:
        graph: the float graph.
        model: what `graph` is exported against.
        scales: tensor -> scale, exact float32 values, in the order of the recorded cache, then of the graph.
        missing: float tensors of the graph without a scale: TensorRT runs the layers they touch in floating
            point.
        precisions: node name -> `int8` or `fp16` (see `layer_precisions`).
        covered: tensor -> what its grid was, for tensors whose grid a symmetric INT8 scale can only cover.
        notes: what else differs from the original model, one sentence each.
    """

    graph: gs.Graph
    model: Model
    scales: Mapping[str, float]
    missing: tuple[str, ...]
    precisions: Mapping[str, Precision]
    covered: Mapping[str, str]
    notes: tuple[str, ...]

    def cache(self, trt_version: str = "10.3") -> Cache:
        """The scales as a TensorRT calibration cache.

        Raises:
            OptionError: for a TensorRT version without calibrators.
        """
        return Cache(header_for(trt_version), self.scales)

    def proto(self) -> onnx.ModelProto:
        """The float model in memory."""
        from onnx_trtcal.graph.model.exporter import export_model

        return export_model(self.graph, self.model)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the float model; returns the files written."""
        from onnx_trtcal.graph.model.save import save_model

        return save_model(self.graph, self.model, path)


def dequantize_model(model: Model, *, symmetric_only: bool = False) -> Dequantized:
    """Separates a Q/DQ model into a float model and a scale per tensor.

    A model that this package made gives back exactly the scales it was made from, as long as its pairs are those
    that were written. For any other model, the scale of each pair is taken and propagated to tensors that hold
    the same values or vanish in the same kernel.

    Args:
        model: any model with Q/DQ pairs: from ModelOpt, QAT, ONNX Runtime or this package.
        symmetric_only: refuse a tensor whose grid a cache cannot express (uint8, zero-point, several scales),
            rather than cover its range.

    Raises:
        ModelError: there are no pairs, or they have no float counterpart.
    """
    from onnx_trtcal.graph.groups.group import find_groups
    from onnx_trtcal.graph.model.importer import import_graph

    graph = import_graph(model)
    removed = remove_qdq(graph)
    if not removed.pairs:
        raise ModelError(
            "the model has no Q/DQ pair on an activation, so it holds no scales",
            where=str(model.path or ""),
            fix="give a model quantized in QDQ format",
        )
    notes: list[str] = []
    covered: dict[str, str] = {}
    found = {
        tensor: _scale(tensor, quantizers, covered, symmetric_only=symmetric_only)
        for tensor, quantizers in removed.pairs.items()
    }
    # Before activations are reinserted: that changes the first outputs by which nodes are known.
    precisions = precisions_of(Flow(graph), removed.read_quantized)
    reinserted = reinsert_absorbed_activations(graph, removed.pairs)
    if reinserted:
        notes.append(
            f"{len(reinserted)} activations that asymmetric quantizers had absorbed are back in the float model"
        )
    flow = Flow(graph)
    record = _record(model, {flow.uncast(tensor): scale for tensor, scale in found.items()}, notes)
    recorded = {} if record is None else dict(record.scales)
    if record is not None and record.unseen:
        notes.append(f"{unseen_text(record.unseen)}: the scales that the record has for them are made up")
    carried, missing = propagate_scales(graph, find_groups(graph, model.shapes), {**found, **recorded})
    # The original model had no tensor that the record does not name: quantizing made it, for an opset or a type.
    scales = recorded or carried
    unknown = {*carried, *missing} - scales.keys()
    _note_weights(removed, notes)
    return Dequantized(
        graph,
        without_qdq_nodes(with_metadata(with_opset(model, graph.opset), RECORD_KEY, None)),
        scales,
        tuple(name for name in flow.tensors if name in unknown),
        precisions,
        covered,
        tuple(notes),
    )


def _record(model: Model, found: Mapping[str, float], notes: list[str]) -> Record | None:
    """The scale record, if the pairs are still what it says."""
    text = next((entry.value for entry in model.proto.metadata_props if entry.key == RECORD_KEY), None)
    if text is None:
        return None
    record = load_record(text)
    if dict(found) == dict(record.pairs):
        return record
    notes.append(
        "the Q/DQ pairs are no longer those of the calibration recorded in the model: the record is ignored"
    )
    return None


def _scale(
    tensor: str, quantizers: Sequence[Quantizer], covered: dict[str, str], *, symmetric_only: bool
) -> float:
    """The scale of a tensor: the largest where several pairs sit on it, so that nothing is clipped."""
    scales = []
    for quantizer in quantizers:
        if quantizer.zero.dtype.kind not in "iu":
            raise ModelError(
                f"tensor {tensor!r} is quantized to {quantizer.zero.dtype}, which no cache can express"
            )
        scale, same = quantizer.symmetric_scale()
        scales.append(scale)
        if not same:
            if symmetric_only:
                raise ModelError(
                    f"tensor {tensor!r} is {_grid(quantizer)}; a cache can only express symmetric INT8",
                    fix="allow the symmetric range that covers it, or quantize symmetrically",
                )
            covered[tensor] = f"{_grid(quantizer)}, now symmetric over ±{quantizer.threshold():.6g}"
    if len(set(scales)) > 1:
        covered[tensor] = f"pairs of {len(set(scales))} different scales, now the largest, {max(scales):.6g}"
    return max(scales)


def _grid(quantizer: Quantizer) -> str:
    if not quantizer.per_tensor:
        return f"quantized with {quantizer.scale.size} scales"
    return f"{quantizer.zero.dtype} with zero-point {int(quantizer.zero.ravel()[0])}"


def _note_weights(removed: RemovedQdq, notes: list[str]) -> None:
    asymmetric = [name for name, q in removed.weights.items() if q.zero.any()]
    if asymmetric:
        notes.append(
            f"{len(asymmetric)} weights have zero-points, for example {asymmetric[0]!r}: TensorRT quantizes float "
            "weights again, symmetrically per channel"
        )
